// A memory behind AXI4: settable timing, injected errors and hangs, and a checker of the protocol.
//
// The model is clocked once a cycle with what the master drove in that cycle (`clock`); what it
// drives itself (`pins`) changes only between cycles, so there is no path through it within one.
// Writes take effect as late as AXI allows: with the handshake of their response.

#pragma once

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <deque>
#include <string>
#include <vector>

#include "contract.h"
#include "memory_timing.h"

namespace sigbit {

enum Channel { AR, R, AW, W, B, CHANNELS };

// What a slave does wrong, once: the first five to a read burst, the next two to a write burst.
enum Misbehaviour {
    GOOD,
    SHORT,             // one beat less, RLAST on its last
    LONG,              // one beat more, RLAST on its last
    NEVER_LAST,        // no RLAST
    EARLY_LAST,        // RLAST on the last beat but one, too
    REPEATED,          // one more beat with RLAST
    EARLY_RESPONSE,    // a response before the data, and one after
    MISPLACED_RESPONSE,// a response before the data, none after
    STRAY_RESPONSE,    // a response while nothing is outstanding
    STRAY_BEAT,        // a read beat while nothing is outstanding
};

struct Timing {
    MemoryTiming memory;
    uint32_t stall; // chance of a pause, of 65536, for each channel and cycle
    uint64_t seed;
};

struct Fault {
    bool write;
    uint64_t first, last; // bus addresses, both included
    uint8_t response;
};

struct Address {
    bool valid;
    uint64_t address;
    uint8_t len, size, burst, id;
    bool operator==(const Address&) const = default;
};

template <int BYTES> struct Beat {
    uint8_t data[BYTES];
    uint64_t strobe;
    bool last;
    bool operator==(const Beat&) const = default;
};

template <int BYTES> struct MasterPins {
    Address ar, aw;
    bool wvalid, rready, bready;
    Beat<BYTES> w;
};

template <int BYTES> struct MemoryPins {
    bool arready, awready, wready, rvalid, rlast, bvalid;
    uint8_t rresp, rid, bresp, bid;
    uint8_t rdata[BYTES];
};

class Random { // xorshift64*
public:
    explicit Random(uint64_t seed) : state_(seed * 2 + 1) {}
    bool chance(uint32_t of_65536) {
        if (!of_65536) return false;
        state_ ^= state_ >> 12, state_ ^= state_ << 25, state_ ^= state_ >> 27;
        return (state_ * 0x2545f4914f6cdd1dULL >> 48) < of_65536;
    }

private:
    uint64_t state_;
};

template <int BYTES, int MAX_BEATS, int MAX_READS> class AxiMemory {
public:
    using Master = MasterPins<BYTES>;
    using Pins = MemoryPins<BYTES>;

    // Everything but the memory's place, for a checkpoint.
    template <typename Archive> void state(Archive& archive) {
        archive(pins_, last_, ar_waits_, aw_waits_, w_waits_, reads_, writes_, beats_, written_, answers_,
                answer_, read_rate_, write_rate_, timing_, random_, faults_, hang_, now_, begun_, evil_, evil_at_,
                misbehaved_, unanswered_, prompt_);
        archive.bytes(data_, size_);
    }

    void connect(uint8_t* data, uint64_t base, uint64_t size) {
        data_ = data, base_ = base, size_ = size;
    }
    void timing(const Timing& timing) {
        timing_ = timing;
        random_ = Random(timing.seed);
    }
    // A run begins: its cycles count from `now`.
    void begin(uint64_t now) {
        begun_ = now;
        read_rate_ = write_rate_ = {};
    }
    void fault(const Fault& fault) { faults_.push_back(fault); }
    void clear_faults() { faults_.clear(); }
    void hang(uint32_t channels) { hang_ = channels; }
    // Misbehave at the first occasion after `after` bursts of that direction, or cycles, from now.
    void misbehave(Misbehaviour kind, uint64_t after) {
        evil_ = kind, misbehaved_ = false;
        evil_at_ = kind >= STRAY_RESPONSE ? now_ + after : after;
    }
    bool misbehaved() const { return misbehaved_; }

    const Pins& pins() const { return pins_; }
    const std::vector<std::string>& violations() const { return violations_; }
    void clear_violations() { violations_.clear(); }
    size_t reads_outstanding() const { return reads_.size() + pins_.rvalid; }
    size_t writes_outstanding() const { return writes_.size() + answers_.size() + pins_.bvalid; }

    // One cycle in which the master drove `m`; true if any transfer took place.
    bool clock(const Master& m, uint64_t now) {
        now_ = now;
        check(m);
        bool moved = false;
        if (m.ar.valid && pins_.arready) moved = true, accept_read(m.ar);
        if (m.aw.valid && pins_.awready) moved = true, accept_write(m.aw);
        if (m.wvalid && pins_.wready) moved = true, beats_.push_back(m.w);
        if (pins_.rvalid && m.rready) moved = true, pins_.rvalid = false;
        if (pins_.bvalid && m.bready) moved = true, pins_.bvalid = false, store(answer_.beats);
        last_ = m;
        ar_waits_ = m.ar.valid && !pins_.arready;
        aw_waits_ = m.aw.valid && !pins_.awready;
        w_waits_ = m.wvalid && !pins_.wready;
        commit();
        drive();
        return moved;
    }

private:
    struct Read {
        uint64_t address;
        unsigned beats;
        uint8_t id;
        uint64_t ready;
        Misbehaviour evil;
    };
    struct Write {
        uint64_t address;
        unsigned beats, taken;
        uint8_t id, response;
    };
    struct Written {
        uint64_t address;
        bool okay;
        Beat<BYTES> beat;
    };
    struct Answer {
        uint8_t response, id;
        uint64_t ready;
        unsigned beats;
    };

    template <typename... Args> void violation(const char* format, Args... args) {
        if (violations_.size() >= 100) return;
        char text[256];
        std::snprintf(text, sizeof text, format, args...);
        violations_.push_back("cycle " + std::to_string(now_) + ": " + text);
    }

    void check(const Master& m) {
        if (ar_waits_ && !(m.ar == last_.ar)) violation("AR changed before ARREADY");
        if (aw_waits_ && !(m.aw == last_.aw)) violation("AW changed before AWREADY");
        if (w_waits_ && !(m.wvalid && m.w == last_.w)) violation("W changed before WREADY");
    }

    void check_burst(const char* channel, const Address& a) {
        const uint64_t bytes = (a.len + 1ULL) * BYTES;
        if (a.burst != 1) violation("%s: burst type %d, not INCR", channel, a.burst);
        if (1u << a.size != BYTES) violation("%s: size %d on a %d-byte bus", channel, a.size, BYTES);
        if (a.address % BYTES) violation("%s: address 0x%llx not aligned", channel, hex(a.address));
        if (a.len >= MAX_BEATS) violation("%s: %d beats, at most %d", channel, a.len + 1, MAX_BEATS);
        if (a.address >> 12 != (a.address + bytes - 1) >> 12)
            violation("%s: %d beats from 0x%llx cross 4 KiB", channel, a.len + 1, hex(a.address));
        if (a.address < base_ || a.address - base_ + bytes > size_)
            violation("%s: %d beats from 0x%llx lie outside the memory", channel, a.len + 1,
                      hex(a.address));
    }

    void accept_read(const Address& a) {
        check_burst("AR", a);
        if (reads_.size() >= MAX_READS) violation("AR: more than %d reads in flight", MAX_READS);
        unsigned beats = a.len + 1u;
        Misbehaviour evil = GOOD;
        if (evil_ >= SHORT && evil_ <= REPEATED && !misbehaved_) {
            const bool fits = beats > 1 || (evil_ != SHORT && evil_ != EARLY_LAST);
            if (evil_at_) --evil_at_;
            else if (fits) misbehaved_ = true, evil = evil_;
        }
        if (evil == SHORT) --beats;
        if (evil == LONG || evil == REPEATED) ++beats;
        reads_.push_back({a.address, beats, a.id, now_ + timing_.memory.latency, evil});
    }

    void accept_write(const Address& a) {
        check_burst("AW", a);
        if ((evil_ == EARLY_RESPONSE || evil_ == MISPLACED_RESPONSE) && !misbehaved_) {
            // None of its data has come, nor can all before the response is taken.
            const bool fits = a.len >= 3 && writes_.empty() && beats_.empty() && !responding();
            if (evil_at_) --evil_at_;
            else if (fits) {
                answers_.push_back({Response::OKAY, a.id, now_, 0});
                misbehaved_ = prompt_ = true, unanswered_ = evil_ == MISPLACED_RESPONSE;
            }
        }
        writes_.push_back({a.address, a.len + 1u, 0, a.id, Response::OKAY});
    }

    // Take the beats that have both address and data; a burst that is complete is answered.
    void commit() {
        while (!writes_.empty() && !beats_.empty()) {
            Write& write = writes_.front();
            const Beat<BYTES>& beat = beats_.front();
            const uint8_t response = response_at(true, write.address);
            if (response > write.response) write.response = response;
            written_.push_back({write.address, response == Response::OKAY, beat});
            write.address += BYTES, --write.beats, ++write.taken;
            if (beat.last != (write.beats == 0)) violation("W: WLAST is %d with %u beats to go", beat.last,
                                                           write.beats);
            beats_.pop_front();
            if (write.beats == 0) {
                if (unanswered_) unanswered_ = false, store(write.taken);
                else answers_.push_back({write.response, write.id, now_ + timing_.memory.latency, write.taken});
                writes_.pop_front();
            }
        }
    }

    // Write the oldest beats.
    void store(unsigned beats) {
        for (; beats; --beats, written_.pop_front()) {
            const Written& written = written_.front();
            if (!written.okay) continue;
            uint8_t* to = data_ + (written.address - base_);
            for (int i = 0; i < BYTES; ++i)
                if (written.beat.strobe >> i & 1) to[i] = written.beat.data[i];
        }
    }

    uint8_t response_at(bool write, uint64_t address) const {
        if (address < base_ || address - base_ + BYTES > size_) return Response::DECERR;
        for (const Fault& f : faults_)
            if (f.write == write && address + BYTES > f.first && address <= f.last) return f.response;
        return Response::OKAY;
    }

    bool responding() const { return !answers_.empty() || pins_.bvalid; }

    // Something that nobody asked for, when nothing else is going on.
    void stray() {
        if (evil_ < STRAY_RESPONSE || misbehaved_ || now_ < evil_at_) return;
        if (evil_ == STRAY_RESPONSE && writes_.empty() && beats_.empty() && !responding())
            answers_.push_back({Response::OKAY, 0, now_, 0}), misbehaved_ = true;
        if (evil_ == STRAY_BEAT && reads_.empty() && !pins_.rvalid)
            reads_.push_back({base_, 1, 0, now_, STRAY_BEAT}), misbehaved_ = true;
    }

    // What the next cycle sees. A VALID that is not taken stays, whatever else happens.
    void drive() {
        stray();
        read_rate_.refill(timing_.memory);
        write_rate_.refill(timing_.memory);
        const bool moves = !timing_.memory.refreshes(now_ + 1 - begun_);
        pins_.arready = free(AR) && reads_.size() < MAX_READS;
        pins_.awready = free(AW) && writes_.size() < MAX_WRITES;
        pins_.wready = free(W) && moves && beats_.size() < MAX_WRITE_BEATS && write_rate_.take(timing_.memory);
        if (!pins_.rvalid && free(R) && moves && !reads_.empty() && reads_.front().ready <= now_ + 1 &&
            read_rate_.take(timing_.memory)) {
            Read& read = reads_.front();
            pins_.rvalid = true, pins_.rid = read.id;
            pins_.rresp = response_at(false, read.address);
            if (pins_.rresp == Response::OKAY) std::memcpy(pins_.rdata, data_ + (read.address - base_), BYTES);
            else std::memset(pins_.rdata, 0xEE, BYTES);
            read.address += BYTES, --read.beats;
            pins_.rlast = read.evil != NEVER_LAST && read.beats == 0;
            if (read.evil == EARLY_LAST || read.evil == REPEATED) pins_.rlast |= read.beats == 1;
            if (read.beats == 0) reads_.pop_front();
        }
        if (!pins_.bvalid && (free(B) || prompt_) && !answers_.empty() && answers_.front().ready <= now_ + 1) {
            answer_ = answers_.front();
            pins_.bvalid = true, pins_.bresp = answer_.response, pins_.bid = answer_.id;
            answers_.pop_front();
            prompt_ = false;
        }
    }

    bool free(Channel channel) { return !(hang_ >> channel & 1) && !random_.chance(timing_.stall); }
    static unsigned long long hex(uint64_t x) { return x; }

    Pins pins_{};
    Master last_{};
    bool ar_waits_ = false, aw_waits_ = false, w_waits_ = false;
    std::deque<Read> reads_;
    std::deque<Write> writes_;
    std::deque<Beat<BYTES>> beats_;
    std::deque<Written> written_;
    std::deque<Answer> answers_;
    Answer answer_{}; // the one on the pins
    Bandwidth read_rate_, write_rate_;
    Timing timing_{{40, 1, 1, 0, 0}, 0, 0};
    Random random_{0};
    std::vector<Fault> faults_;
    uint32_t hang_ = 0;
    Misbehaviour evil_ = GOOD;
    uint64_t evil_at_ = 0; // bursts to let pass, or a cycle
    bool misbehaved_ = false, unanswered_ = false, prompt_ = false;
    uint8_t* data_ = nullptr;
    uint64_t base_ = 0, size_ = 0, now_ = 0, begun_ = 0;
    std::vector<std::string> violations_;
};

} // namespace sigbit
