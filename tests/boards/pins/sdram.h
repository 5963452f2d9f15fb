// An SDR SDRAM at its pins: 4 banks of 8,192 rows of 512 words of 16 bits, bursts of one word.
//
// It keeps the longest times of the parts that are mounted on boards; AS4C16M16SA-7, revision 3.0,
// table 16, unless another part needs more. Times are in picoseconds. What a part would not
// tolerate throws Violation.
#pragma once

#include <cstdint>
#include <deque>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

namespace sdram {

using Time = int64_t;

constexpr Time
    tCK_CL2 = 10'000, tCK_CL3 = 7'500, // clock period
    tIS = 1'500, tIH = 800,            // setup and hold of all inputs
    tAC = 6'000, tOH = 2'500,          // data out, from the clock edge
    tRCD = 21'000, tRP = 21'000, tRAS = 44'000, tRC = 66'000, tRRD = 15'000,
    tRFC = 70'000, tWR = 15'000,       // tWR of MT48LC16M16A2
    tRAS_MAX = 120'000'000, tREFI = 7'812'500, tPOWER_UP = 200'000'000;
constexpr int MODE_CYCLES = 2, REFRESHES_AT_START = 8, REFRESHES_LATE = 8;

struct Violation : std::runtime_error {
    using std::runtime_error::runtime_error;
};

struct Inputs {
    unsigned cke, cs_n, ras_n, cas_n, we_n, ba, a, dm;
    bool operator==(const Inputs&) const = default;
};

class Sdram {
public:
    // Its data reach the other side `flight` later.
    explicit Sdram(Time flight = 0) : words_(size_t{1} << 24), flight_(flight) {
        for (auto& word : words_) word = uint16_t(random_());
    }

    uint64_t reads = 0, writes = 0, refreshes = 0, edges = 0;

    // What it drives, or what is left, on the data pins just before `now`.
    unsigned data(Time now) {
        while (!outputs_.empty() && outputs_.front().when < now) {
            valid_ = outputs_.front().valid;
            out_ = valid_ ? outputs_.front().word : unsigned(random_() & 0xFFFF);
            outputs_.pop_front();
        }
        return out_;
    }

    // The pins at `now`: call it whenever one of them may have changed. `drives` is set while the
    // other side drives the data pins.
    void operator()(Time now, bool clock, const Inputs& in, unsigned data, bool drives) {
        this->data(now);
        if (!(in == in_) || (drives && (data != data_ || !drives_))) {
            if (edges && now - edge_ < tIH) fail(now, "tIH: an input changes after the clock");
            if (!(in == in_)) changed_ = now;
            if (drives && (data != data_ || !drives_)) data_changed_ = now;
        }
        in_ = in, data_ = data, drives_ = drives;
        if (drives && valid_) fail(now, "both sides drive the data pins");
        if (clock && !clock_) edge(now);
        clock_ = clock;
    }

private:
    struct Bank {
        bool open = false;
        unsigned row = 0;
        Time activated = NEVER, precharged = NEVER, written = NEVER; // precharged: it begins
    };
    struct Output {
        Time when;
        bool valid;
        unsigned word;
    };
    static constexpr Time NEVER = -1'000'000'000'000;

    [[noreturn]] static void fail(Time now, const std::string& what) {
        throw Violation("SDRAM at " + std::to_string(now / 1000) + " ns: " + what);
    }
    static void after(Time now, Time since, Time least, const char* what) {
        if (now - since < least)
            fail(now, std::string(what) + ": " + std::to_string((now - since) / 1000) + " ns");
    }

    void edge(Time now) {
        period_ = now - edge_;
        edge_ = now;
        edges++;
        if (now - changed_ < tIS) fail(now, "tIS: an input changes before the clock");
        if (mode_ && period_ < (latency_ == 2 ? tCK_CL2 : tCK_CL3))
            fail(now, "tCK: CAS latency " + std::to_string(latency_) + " does not allow this clock");
        if (valid_) outputs_.push_back({now + tOH + flight_, false, 0});
        // A word read `latency - 1` edges ago is on the pins from here on.
        if (!pipe_.empty() && pipe_.front().first + latency_ - 1 == edges) {
            outputs_.push_back({now + tAC + flight_, true, pipe_.front().second});
            pipe_.pop_front();
        }
        refreshed_in_time(now);
        if (in_.cke && !enabled_) enabled_at_ = now;
        enabled_ = in_.cke;
        if (in_.cs_n) return;
        if (!enabled_) fail(now, "a command while CKE is low");
        command(now, in_.ras_n << 2 | in_.cas_n << 1 | in_.we_n);
    }

    void command(Time now, unsigned code) {
        if (code == 0b111) return;
        after(now, enabled_at_, tPOWER_UP, "a command in the first 200 us");
        after(now, refreshed_, tRFC, "tRFC");
        if (edges - mode_at_ < MODE_CYCLES) fail(now, "tMRD");
        Bank& bank = banks_[in_.ba];
        switch (code) {
        case 0b011: return activate(now, bank);
        case 0b101: return read(now, bank);
        case 0b100: return write(now, bank);
        case 0b010: return precharge(now);
        case 0b001: return refresh(now);
        case 0b000: return load_mode(now);
        default: fail(now, "burst stop, which bursts of one word do not need");
        }
    }

    void activate(Time now, Bank& bank) {
        if (!mode_) fail(now, "a row is opened before initialisation");
        if (bank.open) fail(now, "a row is opened in a bank that has one open");
        after(now, bank.precharged, tRP, "tRP");
        after(now, bank.activated, tRC, "tRC");
        after(now, activated_, tRRD, "tRRD");
        bank.open = true, bank.row = in_.a;
        bank.activated = activated_ = now;
    }

    size_t place(Time now, const Bank& bank) const {
        if (!bank.open) fail(now, "a column of a bank without an open row");
        after(now, bank.activated, tRCD, "tRCD");
        return size_t(bank.row) << 11 | size_t(in_.ba) << 9 | (in_.a & 0x1FF);
    }

    void read(Time now, Bank& bank) {
        unsigned word = words_[place(now, bank)];
        if (in_.dm & 1) word ^= random_() & 0x00FF;
        if (in_.dm & 2) word ^= random_() & 0xFF00;
        pipe_.push_back({edges, word});
        reads++;
        if (in_.a & 0x400) close(now, bank, now + period_);
    }

    void write(Time now, Bank& bank) {
        uint16_t& word = words_[place(now, bank)];
        if (!drives_) fail(now, "nothing drives the data of a write");
        if (now - data_changed_ < tIS) fail(now, "tIS: data change before the clock");
        const unsigned mask = (in_.dm & 1 ? 0 : 0x00FF) | (in_.dm & 2 ? 0 : 0xFF00);
        word = uint16_t((word & ~mask) | (data_ & mask));
        bank.written = now;
        writes++;
        if (in_.a & 0x400) close(now, bank, now + tWR);
    }

    void precharge(Time now) {
        for (unsigned k = 0; k < 4; k++) {
            Bank& bank = banks_[k];
            if (!bank.open || (!(in_.a & 0x400) && k != in_.ba)) continue;
            after(now, bank.written, tWR, "tWR");
            close(now, bank, now);
        }
        if (in_.a & 0x400) precharged_ = true;
    }

    // Close a row by a precharge that begins at `when`.
    static void close(Time now, Bank& bank, Time when) {
        if (when - bank.activated < tRAS)
            fail(now, "tRAS: " + std::to_string((when - bank.activated) / 1000) + " ns");
        if (when - bank.activated > tRAS_MAX) fail(now, "tRAS: a row is open for too long");
        bank.open = false;
        bank.precharged = when;
    }

    void idle(Time now, const char* what) const {
        for (const Bank& bank : banks_) {
            if (bank.open) fail(now, std::string(what) + " while a row is open");
            after(now, bank.precharged, tRP, "tRP");
        }
    }

    void refresh(Time now) {
        idle(now, "a refresh");
        if (!precharged_) fail(now, "a refresh before all banks were precharged");
        refreshed_ = now;
        refreshes++;
    }

    void load_mode(Time now) {
        idle(now, "the mode is set");
        if (refreshes < REFRESHES_AT_START) fail(now, "the mode is set before 8 refreshes");
        if (in_.ba || in_.a & 0x1D8F) // bursts of one word, sequential, no test mode
            fail(now, "mode " + std::to_string(in_.a));
        latency_ = in_.a >> 4 & 7;
        if (latency_ != 2 && latency_ != 3) fail(now, "CAS latency " + std::to_string(latency_));
        if (!mode_) schedule_ = now, counted_ = refreshes;
        mode_ = true;
        mode_at_ = edges;
    }

    // Every row in 64 ms: refreshes may be late, but not by more than 8 of them.
    void refreshed_in_time(Time now) const {
        if (mode_ && (now - schedule_) / tREFI > Time(refreshes - counted_) + REFRESHES_LATE)
            fail(now, "tREFI: only " + std::to_string(refreshes - counted_) + " refreshes");
    }

    std::vector<uint16_t> words_;
    std::mt19937 random_{1};
    Time flight_;
    Bank banks_[4];
    Inputs in_{};
    unsigned data_ = 0, out_ = 0;
    int latency_ = 2;
    bool clock_ = false, drives_ = false, valid_ = false, enabled_ = false;
    bool precharged_ = false, mode_ = false;
    Time edge_ = 0, period_ = 0, changed_ = NEVER, data_changed_ = NEVER, enabled_at_ = 0;
    Time activated_ = NEVER, refreshed_ = NEVER, schedule_ = 0;
    uint64_t mode_at_ = 0, counted_ = 0;
    std::deque<std::pair<uint64_t, unsigned>> pipe_; // edge of a read, its word
    std::deque<Output> outputs_;
};

} // namespace sdram
