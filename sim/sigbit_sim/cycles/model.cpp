// The cycle model: the accelerator's control, register by register, without data.
//
// Every block below describes the behaviour of the gateware's block of that name in a cycle: `settle`
// computes the signals between the blocks from their registers, `tick` is the clock edge. The behaviour of
// COMPUTE follows in closed form from the instruction when it begins. Instructions, numbers and timing come
// from the contract.

#include <algorithm>
#include <array>
#include <cstdint>
#include <deque>
#include <vector>

#include "config.h"
#include "contract.h"
#include "memory_timing.h"

namespace sigbit {

struct Event { // of an instruction: when it entered its engine, and when it retired
    int64_t start, retire;
};

using namespace timing;

// SyncFIFOBuffered: `depth` entries, the oldest of them in the output register.
template <typename T> struct Fifo {
    int depth, inner = 0;
    bool valid = false;
    std::deque<T> items;
    explicit Fifo(int depth) : depth(depth) {}
    bool ready() const { return inner != depth - 1; }
    const T& front() const { return items.front(); }
    void tick(bool write, const T& item, bool read) {
        const bool in = write && ready(), moves = inner && (!valid || read);
        if (valid && read) items.pop_front();
        if (in) items.push_back(item);
        inner += in - moves;
        if (moves) valid = true;
        else if (read) valid = false;
    }
};

template <class T> struct Skid {
    bool valid = false, spare = false;
    T value{}, spare_value{};
    bool ready() const { return !spare; }
    void tick(bool in, const T& in_value, bool out_ready) {
        if (!valid || out_ready) {
            valid = in || spare;
            value = spare ? spare_value : in_value;
            spare = false;
        } else if (in && ready()) {
            spare = true, spare_value = in_value;
        }
    }
};

struct Splitter {
    enum { IDLE, SPLIT, ISSUE } state = IDLE;
    int64_t address = 0, left = 0, count = 0, limit;
    bool last = false;
    explicit Splitter(int64_t limit) : limit(limit) {}
    bool ready() const { return state == IDLE; }
    bool valid() const { return state == ISSUE; }
    void tick(bool request, int64_t at, int64_t beats, bool out_ready) {
        switch (state) {
        case IDLE:
            if (request) address = at, left = beats, state = SPLIT;
            break;
        case SPLIT: {
            const int64_t boundary = limit - address % limit;
            last = left <= boundary, count = last ? left : boundary;
            state = ISSUE;
            break;
        }
        case ISSUE:
            if (out_ready) address += count, left -= count, state = last ? IDLE : SPLIT;
        }
    }
};

// The slots of a block: for n2: for n1: for n0.
struct Walker {
    int64_t slot = 0, run = 0, plane = 0, i0 = 0, i1 = 0, i2 = 0;
    const Instr* block = nullptr;
    void restart(const Instr& b) {
        block = &b, slot = run = plane = b.opcode == Opcode::STORE ? b.src : b.dst;
        i0 = i1 = i2 = 0;
    }
    int64_t left() const { return block->n0 - i0; } // slots of the run from here on
    bool last(int64_t count = 1) const {
        return i0 + count == block->n0 && i1 + 1 == block->n1 && i2 + 1 == block->n2;
    }
    void step(int64_t count = 1) {
        if (i0 + count < block->n0) {
            i0 += count, slot += count;
        } else if (i0 = 0; i1 + 1 < block->n1) {
            ++i1, slot = run += block->d1;
        } else {
            i1 = 0, ++i2, slot = run = plane += block->d2;
        }
    }
};

// COMPUTE. An EXEC's steps, drains and retirement are known when it begins.
class Compute {
public:
    explicit Compute(const Config& c) : c_(c) {}

    bool ready(int64_t now) const { return !waiting_ && now > busy_until_; }
    bool busy() const { return waiting_ || in_flight_; }
    int64_t begun() const { return begun_; }

    // The EXEC that is next begins in this cycle, if it may.
    void begin(int64_t now) {
        if (waiting_ && (exec_.sync ? in_flight_ == 0 : in_flight_ != EXECS_IN_FLIGHT)) run(now), begins_ = true;
    }
    bool retires(int64_t now) const { return !retirements_.empty() && retirements_.front() == now; }

    void accept(const Instr& i) {
        if (i.opcode == Opcode::SEG) steps_[i.index] = i.n_ic * i.n_kx * i.n_ky;
        else if (i.opcode == Opcode::OUT) out_ = i;
        else exec_ = i, accepted_ = true;
    }
    void tick(int64_t now) {
        in_flight_ += begins_;
        if (retires(now)) retirements_.pop_front(), --in_flight_;
        if (begins_) waiting_ = false;
        if (accepted_) waiting_ = true;
        begins_ = accepted_ = false;
        while (!drains_.empty() && now + 1 >= drains_.front().end()) drains_.pop_front();
    }

    // True if the drain writes to `bank` in this cycle.
    bool drains_into(int64_t bank, int64_t now) const {
        if (drains_.empty() || now < drains_.front().first) return false;
        const Drains& d = drains_.front();
        const int64_t block = std::upper_bound(d.starts.begin(), d.starts.end(), now) - d.starts.begin() - 1;
        const int64_t at = now - d.starts[block];
        if (at >= d.duration) return false;
        return d.writes(c_, block, at, bank);
    }

private:
    struct Drains {
        Instr exec, out;
        int64_t first, duration;
        std::vector<int64_t> starts; // of every block: the cycle of its first writes
        int64_t end() const { return starts.back() + duration; }

        bool writes(const Config& c, int64_t block, int64_t at, int64_t bank) const {
            const int64_t blocks = (exec.run + c.pixels - 1) / c.pixels;
            const bool maximum = exec.mode == Mode::MAX;
            const int64_t groups = maximum ? 1 : c.groups, slots = maximum ? 1 : c.drain_slots;
            const int64_t ocb = block / (blocks * exec.n_rows), row = block / blocks % exec.n_rows;
            const int64_t group = at % groups, step = at / groups % (c.pixels / c.drain_pixels);
            const int64_t plane = at / groups / (c.pixels / c.drain_pixels);
            const int64_t first = ocb * (maximum ? 1 : c.slots_per_block) + group * slots;
            for (int64_t p = 0; p < c.drain_pixels; ++p) {
                const int64_t pixel = block % blocks * c.pixels + step * c.drain_pixels + p;
                if (pixel >= exec.run) break;
                for (int64_t s = first; s < std::min(first + slots, out.n_slots); ++s) {
                    const int64_t slot = out.base + plane * out.d_plane + s * out.d_slot +
                                         row * (offset(exec.run - 1) + out.d_row) + offset(pixel);
                    if (((slot - bank) & (c.pixels - 1)) == 0) return true;
                }
            }
            return false;
        }
        int64_t column(int64_t x) const {
            return x / out.phases * ((out.phases - 1) * out.d_pix + out.d_col) + x % out.phases * out.d_pix;
        }
        int64_t offset(int64_t pixel) const { // from the run's first pixel
            return pixel / exec.wrap * (column(exec.wrap - 1) + out.d_line) + column(pixel % exec.wrap);
        }
    };

    void run(int64_t now) {
        int64_t steps = 0;
        for (int64_t i = 0; i < exec_.n_seg; ++i) steps += steps_[i];
        const int64_t blocks = exec_.n_ocb * exec_.n_rows * ((exec_.run + c_.pixels - 1) / c_.pixels);
        const int64_t wave = c_.pixels / c_.drain_pixels * (exec_.mode == Mode::MAX ? 1 : c_.groups);
        const int64_t duration = exec_.drain ? wave * out_.n_planes : 0;
        int64_t last = now;
        if (exec_.drain) {
            Drains d{exec_, out_, 0, duration, {}};
            d.starts.reserve(blocks);
            for (int64_t b = 0; b < blocks; ++b) {
                last = std::max(last + steps, open_);
                open_ = last + duration;
                d.starts.push_back(last + c_.drain_latency - 1);
            }
            d.first = d.starts.front();
            drains_.push_back(std::move(d));
        } else {
            last += steps * blocks;
        }
        begun_ = now + 1, busy_until_ = last;
        retired_ = std::max(retired_ + 1, last + (exec_.drain ? c_.drain_latency + duration - 1 : c_.result_latency));
        retirements_.push_back(retired_);
    }

    const Config& c_;
    std::array<int64_t, SEGMENTS_MAX> steps_{};
    Instr exec_{}, out_{};
    bool waiting_ = false, begins_ = false, accepted_ = false;
    int in_flight_ = 0;
    int64_t busy_until_ = -1, begun_ = 0, open_ = 0, retired_ = -1;
    std::deque<int64_t> retirements_;
    std::deque<Drains> drains_;
};

// The memory behind a port, as `native/axi_memory.h` times it without stalls.
class Memory {
public:
    Memory(const Config& c, const MemoryTiming& timing) : c_(c), timing_(timing) {
        for (int64_t now = -RUN_BEGINS; now < 0; ++now) tick(now, false, 0, false, 0, false, true);
    }
    bool arready = true, awready = true, wready = true, rvalid = false, rlast = false, bvalid = false;

    void tick(int64_t now, bool ar, int64_t ar_beats, bool aw, int64_t aw_beats, bool w, bool rready) {
        read_rate_.refill(timing_);
        write_rate_.refill(timing_);
        const bool moves = !timing_.refreshes(now + 1 + RUN_BEGINS);
        if (ar) reads_.push_back({ar_beats, now + timing_.latency});
        if (aw) writes_.push_back(aw_beats);
        if (w) ++beats_;
        if (rvalid && rready) rvalid = false;
        bvalid = false;
        while (!writes_.empty() && beats_) {
            --beats_;
            if (--writes_.front() == 0) answers_.push_back(now + timing_.latency), writes_.pop_front();
        }
        arready = int64_t(reads_.size()) < c_.outstanding_reads;
        awready = writes_.size() < MAX_WRITES;
        wready = moves && beats_ < MAX_WRITE_BEATS && write_rate_.take(timing_);
        if (!rvalid && moves && !reads_.empty() && reads_.front().ready <= now + 1 && read_rate_.take(timing_)) {
            rvalid = true, rlast = --reads_.front().beats == 0;
            if (rlast) reads_.pop_front();
        }
        if (!answers_.empty() && answers_.front() <= now + 1) bvalid = true, answers_.pop_front();
    }

private:
    struct Read {
        int64_t beats, ready;
    };
    const Config& c_;
    const MemoryTiming& timing_;
    Bandwidth read_rate_, write_rate_;
    std::deque<Read> reads_;
    std::deque<int64_t> writes_, answers_;
    size_t beats_ = 0;
};

// A memory, its bus shell, and the queues between the shell and the join of several ports.
struct Port {
    Memory memory;
    bool arvalid = false, awvalid = false, wvalid = false, owing = false, done = false;
    int64_t arbeats = 0, awbeats = 0, left = 0, writes_open = 0, answered = 0;
    Skid<bool> skid;
    Fifo<char> reads, beats;
    Fifo<int64_t> bursts;

    Port(const Config& c, const MemoryTiming& timing)
        : memory(c, timing), reads(int(c.outstanding_reads * c.burst_beats)),
          beats(int(BURSTS_AHEAD * c.burst_beats)), bursts(2 * BURSTS_AHEAD) {}
    bool read_free() const { return !arvalid || memory.arready; }
    bool write_free() const { return !wvalid || memory.wready; }
    bool takes_burst() const { return !owing && (!awvalid || memory.awready) && writes_open != WRITES_MAX; }

    // The read channels: a burst of `count` beats goes out if `read`; `leaves`: what the skid has is taken.
    // The write channels: a burst of `length` beats if `burst`, a beat if `beat`.
    void tick(int64_t now, bool read, int64_t count, bool leaves, bool burst, int64_t length, bool beat) {
        const bool b = memory.bvalid, w_free = write_free(), w_taken = wvalid && memory.wready;
        const bool aw_taken = awvalid && memory.awready, ar_taken = arvalid && memory.arready;
        const bool r_valid = memory.rvalid, r_last = memory.rlast;
        memory.tick(now, ar_taken, arbeats, aw_taken, awbeats, w_taken, skid.ready());
        skid.tick(r_valid, r_last, leaves);
        if (read) arvalid = true, arbeats = count;
        else if (ar_taken) arvalid = false;
        writes_open += burst - b;
        done = b;
        const bool was_owing = owing;
        if (burst) awvalid = true, awbeats = length, owing = true;
        else if (aw_taken) awvalid = false;
        if (w_free) wvalid = was_owing && beat;
        if (beat) owing = --left != 0;
        if (burst) left = length;
    }
};

// Instruction fetch: requests, the prefetch buffer, beats to words.
struct Fetch {
    enum { START, CHECK, CHUNK, REQUEST } state = START;
    int64_t total, chunk_max, room, parts, words, count;
    int64_t wait = 0, left = 0, offset = 0, chunk = 0, credit, index = 0, part = 0, words_left = 0;
    bool valid = false; // of the word
    Fifo<char> buffer;

    Fetch(const Config& c, int64_t count, int64_t offset)
        : chunk_max(c.burst_beats), room(FETCH_AHEAD * c.burst_beats),
          parts(std::max<int64_t>(WORD_BYTES / c.bus_bytes, 1)), words(std::max<int64_t>(c.bus_bytes / WORD_BYTES, 1)),
          count(count), offset(offset / c.bus_bytes), credit(room), buffer(int(room)) {
        total = (count * WORD_BYTES + c.bus_bytes - 1) / c.bus_bytes;
    }
    bool request() const { return state == REQUEST; }
    bool quiet() const { return credit == room; }

    void tick(bool granted, bool beat, bool word_taken, bool stop) {
        const bool free = !valid || (word_taken && words_left == 0);
        const bool popped = buffer.valid && (free || stop);
        const bool takes = buffer.valid && free && !stop;
        if (word_taken) {
            ++index;
            if (words_left) --words_left;
            else valid = false;
        }
        if (takes) {
            valid = part == parts - 1;
            part = (part + 1) % parts;
            words_left = words - 1;
        }
        buffer.tick(beat, 0, popped);
        const int64_t spent = granted ? chunk : 0;
        const bool room_for_one = credit >= chunk_max;
        credit += popped - spent;
        switch (state) {
        case START: wait = CHECK_LATENCY, state = CHECK; break;
        case CHECK:
            left = total;
            if (wait-- == 0) state = CHUNK;
            break;
        case CHUNK:
            if (chunk = std::min(left, chunk_max); left && room_for_one && !stop) state = REQUEST;
            break;
        case REQUEST:
            if (granted) left -= chunk, offset += chunk, state = CHUNK;
        }
    }
};

// Decoding: one instruction in two cycles.
struct Decode {
    bool deciding = false, valid = false;
    int64_t index = 0;
    bool takes(bool word) const { return deciding && word && !valid; }
    void tick(bool word, int64_t word_index, bool out_ready) {
        const bool taken = takes(word);
        if (out_ready) valid = false;
        if (taken) valid = true, index = word_index, deciding = false;
        else if (!deciding && word) deciding = true;
    }
};

// LOAD's front end, and STORE's first steps: an instruction is checked, then requested.
struct Front {
    enum { IDLE, CHECK, ISSUE, MOVE, FINISH } state = IDLE;
    int64_t index = 0, wait = 0;
    void take(int64_t i) { index = i, wait = CHECK_LATENCY - 1, state = CHECK; }
    void check(bool skip) {
        if (skip || wait == 0) state = ISSUE;
        --wait;
    }
};

// LOAD's back end: beats to the memories.
struct Back {
    const Config& c;
    const Instr* command = nullptr;
    bool active = false, starting = false, full = false, settling = false, of_slots = false;
    int64_t index = 0, retiring = 0, units = 0, sub = 0, beats = 0;
    Walker walker;

    explicit Back(const Config& c) : c(c) {}
    bool fill() const { return command->opcode == Opcode::FILL; }
    bool acts() const { return fill() || command->kind == LoadKind::ACTS; }
    int kind() const { return fill() ? int(LoadKind::ACTS) : int(command->kind); }
    bool moves() const { return active && !starting && !settling && (fill() || full); }
    bool offers() const { return moves() && acts(); }
    int64_t count() const {
        if (!acts()) return 1;
        const int64_t room = std::min(walker.left(), c.slots_per_move);
        return fill() ? room : std::min(room, units);
    }
    bool sub_last() const { return sub + 1 == c.steps[kind()]; }
    bool final(bool step) const { return step && sub_last() && walker.last(count()); }
    bool unit_ends() const { return (sub + 1) % c.unit_steps[kind()] == 0; }
    bool beat_ready(bool step) const {
        return active && !starting && !fill() && beats && (!full || (step && unit_ends() && units == count()));
    }
    bool retires(bool busy) const { return settling && !(of_slots && busy); }

    void tick(bool step, bool beat, bool retired, bool given, const Instr* next, int64_t next_index) {
        const bool ends = active && final(step), begins = starting;
        const int64_t moved = step ? count() : 0;
        if (beat) full = true, units = c.units[kind()], --beats;
        else if (step && unit_ends()) units -= moved, full = units != 0;
        if (step) {
            if (sub_last()) walker.step(moved), sub = 0;
            else ++sub;
        }
        if (begins) walker.restart(*command), sub = 0, full = false, beats = command->beats;
        starting = given;
        if (ends) active = false, settling = true, of_slots = acts(), retiring = index;
        else if (retired) settling = false;
        if (given) active = true, command = next, index = next_index;
    }
};

struct SlotRange {
    int64_t first = 0, count = 0;
};

// Slots on their way to or from the banks: they proceed when the drain does not use their banks.
struct Transfer : SlotRange {
    const Config& c;
    bool read = false; // by STORE
    explicit Transfer(const Config& c) : c(c) {}
    bool writes() const { return count && !read; }
    bool blocked(const Compute& compute, int64_t now) const {
        for (int64_t i = 0; i < count; ++i)
            if (compute.drains_into((first + i) & (c.pixels - 1), now)) return true;
        return false;
    }
};

// STORE's slots: read ahead, packed into beats.
struct Packer {
    const Config& c;
    Walker walker;
    bool active = false, complete = false;
    int64_t credit = READ_AHEAD, room = 0, beats = 0;
    Fifo<char> slots{READ_AHEAD};
    Fifo<char> ends{READ_AHEAD}; // by read: true if a beat ends with it
    std::deque<int64_t> arriving; // cycles in which slots arrive from the memory

    explicit Packer(const Config& c) : c(c) {}
    void start(const Instr& store) {
        walker.restart(store), active = true, room = c.units[LoadKind::ACTS];
    }
    bool requests() const { return active && credit; }
    int64_t count() const { return std::min({walker.left(), room, c.slots_per_move}); }
    bool ends_beat() const { return walker.last(count()) || count() == room; }
    void step() {
        const int64_t moved = count();
        room = moved == room ? c.units[LoadKind::ACTS] : room - moved;
        if (walker.last(moved)) active = false;
        else walker.step(moved);
    }
};

class Machine {
public:
    // `memories`: those of `ports` ports, or one if they are all alike.
    Machine(const Config& c, const MemoryTiming* memories, int64_t ports, const Instr* program, int64_t count,
            int64_t offset, Event* events)
        : c_(c), program_(program), events_(events), ports_(memories_of(c, memories, ports)), fetch_(c, count, offset),
          queues_{Queue(c), Queue(c), Queue(c)}, compute_(c), fetch_split_(c.burst_beats),
          load_split_(c.burst_beats), store_split_(c.burst_beats), owners_(int(c.outstanding_reads)),
          back_(c), transfer_{c}, packer_(c) {}

    // Cycles from start to done; -1 if it takes more than `limit`.
    int64_t run(int64_t limit) {
        for (now_ = 0; now_ < limit; ++now_)
            if (cycle()) return now_ + 2; // the end is detected one cycle late
        return -1;
    }

private:
    struct Queue {
        Fifo<int64_t> fifo;
        int64_t queued = 0;
        int in_flight = 0;
        std::deque<int64_t> inside;
        explicit Queue(const Config& c) : fifo(int(c.queue_depth)) {}
    };

    static std::vector<Port> memories_of(const Config& c, const MemoryTiming* memories, int64_t ports) {
        std::vector<Port> found;
        for (int64_t i = 0; i < ports; ++i) found.emplace_back(c, memories[i]);
        return found;
    }
    // True if `what` holds for every port.
    template <typename What> bool all(What what) const { return std::all_of(ports_.begin(), ports_.end(), what); }

    const Instr& at(int64_t index) const { return program_[index]; }
    bool granted(int engine) const {
        const int64_t wait = at(queues_[engine].fifo.front()).wait;
        for (int giver = 0; giver < Engine::COUNT; ++giver)
            if (masked(wait, giver) && !tokens_[giver][engine]) return false;
        return true;
    }

    // One cycle; true in the one in which the program is done.
    bool cycle() {
        // COMPUTE
        compute_.begin(now_);

        // Read channel, from the memory to the readers.
        const bool joined = c_.ports > 1;
        const Port& first = ports_.front();
        const bool beat_valid = joined ? all([](const Port& p) { return p.reads.valid; }) : first.skid.valid;
        const bool beat_last = joined ? beat_valid && first.reads.front() : first.skid.value;
        const bool blocked = transfer_.blocked(compute_, now_);
        const bool load_step = back_.moves() && (!back_.acts() || write_skid_.ready());
        const bool slots_offered = back_.offers();
        const SlotRange offered{slots_offered ? back_.walker.slot : 0, slots_offered ? back_.count() : 0};
        const bool halted = decode_.valid && at(decode_.index).opcode == Opcode::HALT;
        const int engine = decode_.valid ? int(engine_of(at(decode_.index).opcode)) : -1;
        const bool dispatched = engine >= 0 && queues_[engine].fifo.ready();
        const bool word = fetch_.valid, word_taken = decode_.takes(word);
        const int64_t word_index = fetch_.index, dispatched_index = decode_.index;
        const bool owned = owners_.valid, owner_load = owned && owners_.front();
        const bool load_ready = owned && owner_load && load_skid_.ready();
        const bool back_ready = back_.beat_ready(load_step), load_beat = load_skid_.valid && back_ready;
        const bool fetch_ready = owned && !owner_load && fetch_.buffer.ready();
        const bool beat_taken = beat_valid && (load_ready || fetch_ready);

        // Queues' heads into their engines.
        const bool load_idle = load_.state == Front::IDLE, store_idle = store_.state == Front::IDLE;
        bool engine_ready[Engine::COUNT];
        engine_ready[Engine::LOAD] = load_idle, engine_ready[Engine::STORE] = store_idle;
        engine_ready[Engine::COMPUTE] = compute_.ready(now_);
        bool enters[Engine::COUNT], waiting[Engine::COUNT], empty[Engine::COUNT];
        for (int e = 0; e < Engine::COUNT; ++e) {
            Queue& q = queues_[e];
            const bool head = q.fifo.valid, may = head && granted(e);
            waiting[e] = head && !may;
            empty[e] = q.queued == 0;
            enters[e] = may && q.in_flight != IN_FLIGHT && engine_ready[e];
        }

        // Retirements.
        const bool store_finishes = store_.state == Front::FINISH && store_split_.ready() && pending_ == 0;
        bool retires[Engine::COUNT];
        retires[Engine::LOAD] = back_.retires(transfer_.writes() || write_skid_.valid);
        retires[Engine::COMPUTE] = compute_.retires(now_), retires[Engine::STORE] = store_finishes;

        // End of program.
        bool at_rest = true, executing = false, any_waiting = false;
        for (int e = 0; e < Engine::COUNT; ++e) {
            at_rest &= empty[e] || waiting[e];
            executing |= queues_[e].in_flight != 0;
            any_waiting |= waiting[e];
        }
        const bool dispatch_blocked = halted || (decode_.valid && !dispatched);
        const bool still = at_rest && dispatch_blocked && !executing && !compute_.busy();
        const bool done = settled_ == SETTLE && !any_waiting && halted && fetch_.quiet();

        // Requests and bursts.
        const bool fetch_request = fetch_.request() && fetch_split_.ready();
        const bool load_is_fill = load_.state != Front::IDLE && at(load_.index).opcode == Opcode::FILL;
        const bool issues = load_.state == Front::ISSUE && ahead_.ready() && (load_is_fill || load_split_.ready());
        const bool load_request = issues && !load_is_fill;
        const bool chosen = holding_ ? held_ : !fetch_split_.valid();
        const bool read_free = all([](const Port& p) { return p.read_free(); });
        const bool read_burst = (fetch_split_.valid() || load_split_.valid()) && owners_.ready();
        const bool read_goes = read_burst && read_free;
        const int64_t read_beats = chosen ? load_split_.count : fetch_split_.count;

        const bool store_issues = store_.state == Front::ISSUE && store_split_.ready();
        const bool slot_valid = packer_.slots.valid && packer_.ends.valid;
        bool burst_taken, beat_moves;
        if (joined) {
            burst_taken = store_split_.valid() && !filling_ && joined_pending_ != WRITES_MAX;
            beat_moves = packer_.complete && filling_ &&
                         all([](const Port& p) { return p.bursts.ready() && p.beats.ready(); });
        } else {
            burst_taken = store_split_.valid() && first.takes_burst();
            beat_moves = packer_.complete && first.owing && first.write_free();
        }
        const bool slot_leaves = slot_valid && slot_skid_.ready();
        const bool packer_ready = !packer_.complete || beat_moves, slot_taken = slot_skid_.valid && packer_ready;
        const bool slot_asked = packer_.requests() && !blocked && !write_skid_.valid;
        const SlotRange asked{slot_asked ? packer_.walker.slot : 0, slot_asked ? packer_.count() : 0};
        const bool slot_read = transfer_.count && transfer_.read && !blocked;
        const bool slot_arrives = !packer_.arriving.empty() && packer_.arriving.front() == now_;
        const bool write_done = joined ? all([](const Port& p) { return p.answered != 0; }) : first.done;

        // Clock edge: ports.
        const bool last_beat = left_joined_ == 0;
        for (Port& p : ports_) {
            if (!joined) {
                p.tick(now_, read_goes, read_beats, beat_taken, burst_taken, store_split_.count, beat_moves);
                continue;
            }
            const bool burst = p.bursts.valid && p.takes_burst(), beat = p.beats.valid && p.owing && p.write_free();
            const int64_t length = p.bursts.valid ? p.bursts.front() : 0;
            const bool offered_beat = p.skid.valid, offered_last = p.skid.value, reads_ready = p.reads.ready();
            p.answered += p.done - write_done;
            p.tick(now_, read_goes, read_beats, reads_ready, burst, length, beat);
            p.reads.tick(offered_beat, offered_last, beat_taken);
            p.bursts.tick(beat_moves && last_beat, joined_length_, burst);
            p.beats.tick(beat_moves, 0, beat);
        }
        owners_.tick(read_goes, chosen, beat_taken && beat_last);
        holding_ = read_burst && !read_free, held_ = chosen;

        fetch_split_.tick(fetch_request, fetch_.offset, fetch_.chunk, read_goes && !chosen);
        load_split_.tick(load_request, load_request ? at(load_.index).address / c_.bus_bytes : 0,
                         load_request ? at(load_.index).beats : 0, read_goes && chosen);
        fetch_.tick(fetch_request, beat_taken && !owner_load, word_taken, halted);
        decode_.tick(word, word_index, dispatched);

        // Writes.
        pending_ += burst_taken - write_done;
        if (joined) {
            joined_pending_ += burst_taken - write_done;
            if (burst_taken) joined_length_ = store_split_.count, left_joined_ = store_split_.count - 1, filling_ = true;
            else if (beat_moves) filling_ = !last_beat, --left_joined_;
        }
        store_split_.tick(store_issues, store_issues ? at(store_.index).address / c_.bus_bytes : 0,
                          store_issues ? at(store_.index).beats : 0, burst_taken);

        // STORE.
        Packer& p = packer_;
        const bool ends_beat = slot_skid_.value;
        slot_skid_.tick(slot_valid, slot_valid && p.ends.front(), packer_ready);
        p.slots.tick(slot_arrives, 0, slot_leaves);
        if (slot_arrives) p.arriving.pop_front();
        p.ends.tick(slot_asked, slot_asked && p.ends_beat(), slot_leaves);
        p.credit += slot_leaves - slot_asked;
        if (slot_asked) p.step();
        if (slot_read) p.arriving.push_back(now_ + READ_LATENCY);
        if (slot_taken) p.complete = ends_beat;
        else if (beat_moves) p.complete = false;
        const bool store_moved_last = beat_moves && p.beats == 1;
        if (beat_moves) --p.beats;
        switch (store_.state) {
        case Front::IDLE:
            if (enters[Engine::STORE]) store_.take(queues_[Engine::STORE].fifo.front());
            break;
        case Front::CHECK:
            p.beats = at(store_.index).beats;
            store_.check(false);
            break;
        case Front::ISSUE:
            if (store_issues) store_.state = Front::MOVE, p.start(at(store_.index));
            break;
        case Front::MOVE:
            if (store_moved_last) store_.state = Front::FINISH;
            break;
        case Front::FINISH:
            if (store_finishes) store_.state = Front::IDLE;
        }

        // LOAD.
        if (!blocked) {
            transfer_.read = !write_skid_.valid;
            static_cast<SlotRange&>(transfer_) = transfer_.read ? asked : write_skid_.value;
        }
        write_skid_.tick(slots_offered, offered, !blocked);
        const bool given = ahead_.valid && !back_.active;
        const int64_t given_index = given ? ahead_.front() : 0;
        load_skid_.tick(beat_taken && owner_load, false, back_ready);
        back_.tick(load_step, load_beat, retires[Engine::LOAD], given, given ? &at(given_index) : nullptr,
                   given_index);
        ahead_.tick(issues, load_.index, given);
        switch (load_.state) {
        case Front::IDLE:
            if (enters[Engine::LOAD]) load_.take(queues_[Engine::LOAD].fifo.front());
            break;
        case Front::CHECK: load_.check(load_is_fill); break;
        default:
            if (issues) load_.state = Front::IDLE;
        }

        // COMPUTE, tokens, queues.
        if (enters[Engine::COMPUTE]) compute_.accept(at(queues_[Engine::COMPUTE].fifo.front()));
        compute_.tick(now_);
        for (int e = 0; e < Engine::COUNT; ++e) {
            Queue& q = queues_[e];
            int64_t start = -1;
            if (enters[e]) {
                const Instr& i = at(q.fifo.front());
                for (int g = 0; g < Engine::COUNT; ++g) tokens_[g][e] -= masked(i.wait, g);
                if (signalling(i.opcode)) start = q.fifo.front(), events_[start].start = now_;
            }
            if (retires[e]) {
                events_[q.inside.front()].retire = now_;
                const int64_t signal = at(q.inside.front()).signal;
                for (int t = 0; t < Engine::COUNT; ++t) tokens_[e][t] += masked(signal, t);
                q.inside.pop_front();
            }
            q.in_flight += (start >= 0) - retires[e];
            if (start >= 0) q.inside.push_back(start);
            const bool in = dispatched && engine == e;
            q.queued += in - enters[e];
            q.fifo.tick(in, dispatched_index, enters[e]);
        }
        settled_ = still ? std::min(settled_ + 1, SETTLE) : 0;
        return done;
    }

    const Config& c_;
    const Instr* program_;
    Event* events_;
    int64_t now_ = 0;
    std::vector<Port> ports_;
    Fetch fetch_;
    Decode decode_;
    std::array<Queue, Engine::COUNT> queues_;
    int tokens_[Engine::COUNT][Engine::COUNT] = {};
    Compute compute_;
    Splitter fetch_split_, load_split_, store_split_;
    Fifo<char> owners_;
    bool holding_ = false, held_ = false, filling_ = false;
    Skid<bool> load_skid_, slot_skid_;
    Skid<SlotRange> write_skid_;
    int64_t pending_ = 0, joined_length_ = 0, left_joined_ = 0, joined_pending_ = 0;
    Front load_, store_;
    Fifo<int64_t> ahead_{LOAD_AHEAD};
    Back back_;
    Transfer transfer_;
    Packer packer_;
    int settled_ = 0;
};

} // namespace sigbit

// `program` is `count` words in memory order.
extern "C" int64_t sb_cycles(const sigbit::Config* config, const sigbit::MemoryTiming* memories, int64_t ports,
                             const uint8_t* program, int64_t count, int64_t offset, int64_t limit,
                             sigbit::Event* events) {
    std::vector<sigbit::Instr> decoded;
    for (int64_t i = 0; i < count; ++i) decoded.emplace_back(program + i * sigbit::WORD_BYTES);
    return sigbit::Machine(*config, memories, ports, decoded.data(), count, offset, events).run(limit);
}
