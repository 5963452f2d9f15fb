// What the accelerator's trace ports tell: a shadow of the activation memory, copies of an EXEC's
// output slots at its retirement, and when each engine worked on what.

#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

#include "contract.h"

namespace sigbit {

struct Event {
    uint64_t cycle;
    uint32_t index;   // of the instruction
    uint16_t engine;
    uint16_t retired; // 0: started
};

struct Feed { // cycles in which the array was fed for one instruction
    uint64_t first, last, count;
};

// Copies `slots[offsets[k] .. offsets[k + 1]]` to `data` when `execs[k]` retires, and sets `taken[k]`.
struct Watch {
    uint32_t count = 0;
    const uint32_t* execs = nullptr;
    const uint64_t* offsets = nullptr;
    const uint32_t* slots = nullptr;
    uint8_t* data = nullptr;
    uint8_t* taken = nullptr;
};

template <int SLOT_BYTES> class Trace {
public:
    explicit Trace(size_t slots) : shadow_(slots * SLOT_BYTES) { begin(0, false); }

    // Everything but the watch itself, for a checkpoint; the same watch must be set.
    template <typename Archive> void state(Archive& archive) {
        archive(shadow_, events_, feeds_, started_, retired_, origin_, finished_, fed_, log_);
        if (watch_.taken) {
            archive.bytes(watch_.data, watch_.offsets[watch_.count] * SLOT_BYTES);
            archive.bytes(watch_.taken, watch_.count);
        }
    }

    void watch(const Watch& watch) {
        watch_ = watch;
        watch_of_.clear();
        for (uint32_t k = 0; k < watch.count; ++k) {
            if (watch_of_.size() <= watch.execs[k]) watch_of_.resize(watch.execs[k] + 1, NONE);
            watch_of_[watch.execs[k]] = k;
        }
    }

    // Forget the last run; cycles count from `now` on. `log` keeps the events of the run.
    void begin(uint64_t now, bool log) {
        origin_ = now, log_ = log, finished_ = fed_ = 0;
        events_.clear();
        feeds_.clear();
        for (auto& index : started_) index = NONE;
        for (auto& index : retired_) index = NONE;
        if (watch_.taken) std::memset(watch_.taken, 0, watch_.count);
    }

    void write(uint64_t slot, const void* data) {
        std::memcpy(&shadow_[slot * SLOT_BYTES], data, SLOT_BYTES);
    }

    void start(int64_t engine, uint32_t index, uint64_t now) {
        started_[engine] = index;
        if (log_) events_.push_back({now - origin_, index, uint16_t(engine), 0});
    }

    void retire(int64_t engine, uint32_t index, uint64_t now) {
        retired_[engine] = index, ++finished_;
        if (log_) events_.push_back({now - origin_, index, uint16_t(engine), 1});
        if (engine == Engine::COMPUTE && index < watch_of_.size() && watch_of_[index] != NONE)
            snapshot(watch_of_[index]);
    }

    void feed(uint64_t now) {
        ++fed_;
        const uint32_t index = started_[Engine::COMPUTE];
        if (index == NONE) return;
        if (feeds_.size() <= index) feeds_.resize(index + 1);
        Feed& feed = feeds_[index];
        if (!feed.count++) feed.first = now - origin_;
        feed.last = now - origin_;
    }

    uint64_t finished() const { return finished_; }
    uint64_t fed() const { return fed_; }
    const std::vector<Event>& events() const { return events_; }
    const std::vector<Feed>& feeds() const { return feeds_; }
    const std::vector<uint8_t>& shadow() const { return shadow_; }
    uint32_t started(int engine) const { return started_[engine]; }
    uint32_t retired(int engine) const { return retired_[engine]; }

    static constexpr uint32_t NONE = ~0u;

private:
    void snapshot(uint32_t k) {
        const uint32_t* slot = watch_.slots + watch_.offsets[k];
        uint8_t* to = watch_.data + watch_.offsets[k] * SLOT_BYTES;
        for (uint64_t n = watch_.offsets[k + 1] - watch_.offsets[k]; n; --n, to += SLOT_BYTES)
            std::memcpy(to, &shadow_[uint64_t(*slot++) * SLOT_BYTES], SLOT_BYTES);
        watch_.taken[k] = 1;
    }

    std::vector<uint8_t> shadow_;
    Watch watch_;
    std::vector<uint32_t> watch_of_;
    std::vector<Event> events_;
    std::vector<Feed> feeds_;
    uint32_t started_[Engine::COUNT], retired_[Engine::COUNT];
    uint64_t origin_ = 0, finished_ = 0, fed_ = 0; // instructions retired, cycles fed in this run
    bool log_ = false;
};

} // namespace sigbit
