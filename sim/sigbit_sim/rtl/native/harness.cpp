// The Verilated accelerator with its memory, as a shared library with a C interface.
//
// `ports.h` is generated from the ArchConfig: sizes, and access to ports whose number or width
// depends on it. A cycle: drive the inputs, settle with the clock low, sample the outputs, clock
// edge. Functions prefixed `sb_` are called from `model.py`, which holds the matching declarations.

#include <array>
#include <memory>

#include "Vsigbit.h"
#include "verilated.h"
#if VM_COVERAGE
#include "verilated_cov.h"
#endif

#include "archive.h"
#include "axi_memory.h"
#include "trace.h"

#include "ports.h"

namespace sigbit {

using Memory = AxiMemory<PORT_BYTES, BURST_BEATS, OUTSTANDING_READS>;

enum Stop { BUDGET, IRQ, IDLE, ASSERTION };

struct State {
    uint64_t cycle, idle, reads, writes, finished, fed; // the last two: of this run
    uint32_t started[Engine::COUNT], retired[Engine::COUNT];
};

class Harness {
public:
    // Registers and memories without initial values get random ones, unless `seed` is 0.
    explicit Harness(int seed) {
        context_.fatalOnError(false);
        context_.randReset(seed ? 2 : 0);
        context_.randSeed(seed);
        top_ = std::make_unique<Vsigbit>(&context_);
        top_->rst = 1;
        top_->s_axil_awvalid = top_->s_axil_wvalid = top_->s_axil_arvalid = 0; // they are random, too
        top_->s_axil_bready = top_->s_axil_rready = 0;
        for (int i = 0; i < 4; ++i) step();
        top_->rst = 0;
        step();
    }

    ~Harness() { top_->final(); }

    void step() {
        drive();
        top_->clk = 0;
        top_->eval();
        sample();
        const uint32_t traced = observe();
        top_->clk = 1;
        top_->eval();
        bool moved = traced;
        for (int port = 0; port < PORTS && !top_->rst; ++port) // no rule of the bus holds before
            moved |= memories[port].clock(masters_[port], cycle_);
        if (moved) progress_ = cycle_;
        ++cycle_;
    }

    // A register access; the response, or -1 when the slave does not answer.
    int write(uint32_t address, uint32_t value, uint32_t strobe) {
        top_->s_axil_awaddr = address, top_->s_axil_wdata = value, top_->s_axil_wstrb = strobe;
        top_->s_axil_awvalid = top_->s_axil_wvalid = top_->s_axil_bready = 1;
        for (int n = 0; n < REGISTER_CYCLES; ++n) {
            step();
            if (lite_.awready) top_->s_axil_awvalid = 0;
            if (lite_.wready) top_->s_axil_wvalid = 0;
            if (lite_.bvalid) return top_->s_axil_bready = 0, lite_.bresp;
        }
        return -1;
    }

    int read(uint32_t address, uint32_t* value) {
        top_->s_axil_araddr = address;
        top_->s_axil_arvalid = top_->s_axil_rready = 1;
        for (int n = 0; n < REGISTER_CYCLES; ++n) {
            step();
            if (lite_.arready) top_->s_axil_arvalid = 0;
            if (lite_.rvalid) return top_->s_axil_rready = 0, *value = lite_.rdata, lite_.rresp;
        }
        return -1;
    }

    Stop run(uint64_t cycles, uint64_t idle_limit) {
        for (; cycles; --cycles) {
            if (irq_) return IRQ;
            if (cycle_ - progress_ > idle_limit) return IDLE;
            if (context_.gotFinish()) return ASSERTION;
            step();
        }
        return irq_ ? IRQ : BUDGET;
    }

    void begin(bool log) {
        progress_ = cycle_;
        for (Memory& memory : memories) memory.begin(cycle_);
        trace.begin(cycle_, log);
    }

    State state() const {
        State s{cycle_, cycle_ - progress_, 0, 0, trace.finished(), trace.fed(), {}, {}};
        for (const Memory& memory : memories)
            s.reads += memory.reads_outstanding(), s.writes += memory.writes_outstanding();
        for (int e = 0; e < Engine::COUNT; ++e) s.started[e] = trace.started(e), s.retired[e] = trace.retired(e);
        return s;
    }

#if VM_COVERAGE // Verilator cannot save a model that counts.
    bool save(const char*) { return false; }
    bool restore(const char*) { return false; }
#else
    bool save(const char* path) {
        VerilatedSave file;
        file.open(path);
        if (!file.isOpen()) return false;
        file << *top_;
        Save archive(file);
        state(archive);
        file.close();
        return true;
    }

    bool restore(const char* path) {
        VerilatedRestore file;
        file.open(path);
        if (!file.isOpen()) return false;
        file >> *top_;
        Restore archive(file);
        state(archive);
        file.close();
        return true;
    }
#endif

    // Write what has been executed since the reset; false if the model does not count it.
    bool coverage([[maybe_unused]] const char* path) {
#if VM_COVERAGE
        context_.coveragep()->write(path);
        return true;
#else
        return false;
#endif
    }

    std::array<Memory, PORTS> memories;
    Trace<SLOT_BYTES> trace{ACT_SLOTS};

private:
    static constexpr int REGISTER_CYCLES = 1000;

    template <typename A> void state(A& archive) {
        archive(masters_, lite_, irq_, cycle_, progress_);
        trace.state(archive);
        for (Memory& memory : memories) memory.state(archive);
    }

    void drive() {
        for (int port = 0; port < PORTS; ++port) drive_port(*top_, port, memories[port].pins());
    }

    void sample() {
        const Vsigbit& t = *top_;
        for (int port = 0; port < PORTS; ++port) sample_port(t, port, masters_[port]);
        lite_ = {bool(t.s_axil_awready), bool(t.s_axil_wready), bool(t.s_axil_bvalid), bool(t.s_axil_arready),
                 bool(t.s_axil_rvalid), t.s_axil_bresp, t.s_axil_rresp, t.s_axil_rdata};
        irq_ = t.irq;
    }

    // Follow the trace ports; non-zero if anything happened. Writes come before retirements.
    uint32_t observe() {
        const Vsigbit& t = *top_;
        uint32_t seen = 0;
        written_banks(t, [&](int bank, uint64_t word, const void* data) {
            seen = 1;
            trace.write(word * PIXELS + bank, data);
        });
        if (t.trace_start_load) seen = 1, trace.start(Engine::LOAD, t.trace_start_load_index, cycle_);
        if (t.trace_start_compute) seen = 1, trace.start(Engine::COMPUTE, t.trace_start_compute_index, cycle_);
        if (t.trace_start_store) seen = 1, trace.start(Engine::STORE, t.trace_start_store_index, cycle_);
        if (t.trace_feeding) seen = 1, trace.feed(cycle_);
        if (t.trace_retire_load) seen = 1, trace.retire(Engine::LOAD, t.trace_retire_load_index, cycle_);
        if (t.trace_retire_compute) seen = 1, trace.retire(Engine::COMPUTE, t.trace_retire_compute_index, cycle_);
        if (t.trace_retire_store) seen = 1, trace.retire(Engine::STORE, t.trace_retire_store_index, cycle_);
        return seen;
    }

    struct Lite {
        bool awready, wready, bvalid, arready, rvalid;
        uint8_t bresp, rresp;
        uint32_t rdata;
    };

    VerilatedContext context_;
    std::unique_ptr<Vsigbit> top_;
    std::array<MasterPins<PORT_BYTES>, PORTS> masters_{};
    Lite lite_{};
    bool irq_ = false;
    uint64_t cycle_ = 0, progress_ = 0;
};

} // namespace sigbit

using sigbit::Harness;

extern "C" {

Harness* sb_new(int seed) { return new Harness(seed); }
void sb_free(Harness* h) { delete h; }

void sb_memory(Harness* h, int port, uint8_t* data, uint64_t base, uint64_t size) {
    h->memories[port].connect(data, base, size);
}
void sb_timing(Harness* h, int port, const sigbit::Timing* timing) { h->memories[port].timing(*timing); }
void sb_hang(Harness* h, int port, uint32_t channels) { h->memories[port].hang(channels); }
void sb_misbehave(Harness* h, int port, int kind, uint64_t after) {
    h->memories[port].misbehave(sigbit::Misbehaviour(kind), after);
}
int sb_misbehaved(Harness* h, int port) { return h->memories[port].misbehaved(); }
void sb_fault(Harness* h, int port, int write, uint64_t first, uint64_t last, int response) {
    h->memories[port].fault({bool(write), first, last, uint8_t(response)});
}
void sb_clear_faults(Harness* h, int port) { h->memories[port].clear_faults(); }
uint64_t sb_violations(Harness* h, int port) { return h->memories[port].violations().size(); }
const char* sb_violation(Harness* h, int port, uint64_t i) { return h->memories[port].violations()[i].c_str(); }
int sb_coverage(Harness* h, const char* path) { return h->coverage(path); }
int sb_save(Harness* h, const char* path) { return h->save(path); }
int sb_restore(Harness* h, const char* path) { return h->restore(path); }

int sb_write(Harness* h, uint32_t address, uint32_t value, uint32_t strobe) {
    return h->write(address, value, strobe);
}
int sb_read(Harness* h, uint32_t address, uint32_t* value) { return h->read(address, value); }
int sb_run(Harness* h, uint64_t cycles, uint64_t idle_limit) { return h->run(cycles, idle_limit); }
void sb_state(Harness* h, sigbit::State* state) { *state = h->state(); }

void sb_watch(Harness* h, const sigbit::Watch* watch) { h->trace.watch(*watch); }
void sb_begin(Harness* h, int log) { h->begin(log); }
uint64_t sb_events(Harness* h, const sigbit::Event** events) {
    return *events = h->trace.events().data(), h->trace.events().size();
}
uint64_t sb_feeds(Harness* h, const sigbit::Feed** feeds) {
    return *feeds = h->trace.feeds().data(), h->trace.feeds().size();
}
uint64_t sb_shadow(Harness* h, const uint8_t** data) {
    return *data = h->trace.shadow().data(), h->trace.shadow().size();
}
}
