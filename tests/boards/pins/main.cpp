// A board's part at its pins: oscillator, and a serial line whose other end is a pseudo-terminal.
//
// Arguments: frequency of the oscillator in Hertz, cycles of the made clock a bit, seed, and the
// time in picoseconds that data of an SDRAM take to the part. The terminal's name is the first line on standard output. Each line on standard input is answered
// with the cycles of the made clock so far, the bytes sent to and from the board, and of an SDRAM,
// which -DSDRAM adds, the cycles and the words read and written. "latency N": N cycles
// pass from a byte's end until the host has it; "errors N": of N bytes, in either direction, one is
// flipped in a bit, dropped, or preceded by another one (0: none); others change nothing.
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <exception>
#include <optional>
#include <random>
#include <string>

#include "Vboard.h"
#include "Vboard___024root.h"
#include "verilated.h"
#ifdef SDRAM
#include "sdram.h"
#endif

namespace {

struct Late {
    uint64_t due;
    unsigned char byte;
};

class Noise {
public:
    explicit Noise(unsigned seed) : random_(seed) {}
    uint64_t one_of = 0;

    // What becomes of a byte.
    std::string operator()(unsigned char byte) {
        const std::string clean(1, char(byte));
        if (one_of == 0 || random_() % one_of) return clean;
        const char other = char(random_() & 0xFF);
        switch (random_() % 3) {
        case 0: return std::string(1, char(byte ^ 1u << random_() % 8));
        case 1: return "";
        default: return other + clean;
        }
    }

private:
    std::mt19937 random_;
};

// The clocks that the generator makes, in eighths of a cycle of its own oscillator.
class Clocks {
public:
    Clocks(Vboard& board, double oscillator) : board_(board), root_(*board.rootp) {
        const double made = oscillator * root_.sigbit_board__DOT__pll__DOT__feedback /
                            root_.sigbit_board__DOT__pll__DOT__reference;
        const double own = made * root_.sigbit_board__DOT__pll__DOT__divider;
        unit_ = 1e12 / own / 8;
        outside_ = 4 * own / oscillator;
        half_ = 4 * root_.sigbit_board__DOT__pll__DOT__divider;
#ifdef SDRAM
        memory_half_ = 4 * root_.sigbit_board__DOT__pll__DOT__memory_divider;
        next_memory_ = 0;
        next_later_ = root_.sigbit_board__DOT__pll__DOT__lag;
#endif
    }

    // Make the next edge of any clock; true if it is a rising one of the made clock.
    bool step() {
        now_ = std::min({next_, next_memory_, next_later_, int64_t(next_outside_)});
        bool rises = false;
        if (int64_t(next_outside_) <= now_) {
            board_.clock = !board_.clock;
            next_outside_ += outside_;
        }
        if (next_ == now_) {
            rises = root_.sigbit_board__DOT__pll__DOT__made ^= 1;
            next_ += half_;
        }
        if (next_memory_ == now_) {
            root_.sigbit_board__DOT__pll__DOT__made_memory ^= 1;
            next_memory_ += memory_half_;
        }
        if (next_later_ == now_) {
            root_.sigbit_board__DOT__pll__DOT__made_later ^= 1;
            next_later_ += memory_half_;
        }
        return rises;
    }

    int64_t picoseconds() const { return int64_t(now_ * unit_); }

private:
    static constexpr int64_t NEVER = INT64_MAX;
    Vboard& board_;
    Vboard___024root& root_;
    double unit_, outside_, next_outside_ = 0;
    int64_t now_ = 0, half_ = 0, memory_half_ = 0;
    int64_t next_ = 0, next_memory_ = NEVER, next_later_ = NEVER;
};

class Pins {
public:
    Pins(double oscillator, int divisor, unsigned seed, [[maybe_unused]] int64_t flight)
        :
#ifdef SDRAM
          sdram_(flight),
#endif
          divisor_(divisor), noise_(seed) {
        const int master = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK);
        if (master < 0 || grantpt(master) || unlockpt(master)) exit(1);
        terminal_ = master;
        const int slave = open(ptsname(master), O_RDWR | O_NOCTTY); // kept: the host may come and go
        termios raw;
        tcgetattr(slave, &raw);
        cfmakeraw(&raw);
        tcsetattr(slave, TCSANOW, &raw);
        puts(ptsname(master));
        fflush(stdout);
        fcntl(0, F_SETFL, O_NONBLOCK);
        board_.rx = 1;
        board_.eval();
        clocks_.emplace(board_, oscillator);
    }

    [[noreturn]] void run() {
        for (;;) {
            const bool rises = clocks_->step();
#ifdef SDRAM
            board_.sdram_dq = sdram_.data(clocks_->picoseconds());
            board_.eval();
            memory();
#else
            board_.eval();
#endif
            if (rises) cycle();
        }
    }

private:
    void cycle() {
        cycle_++;
        if (cycle_ % 64 == 0) from_host();
        if (cycle_ % 1024 == 0) commands();
        send();
        receive();
        if (cycle_ % 64 == 0) to_host();
    }

#ifdef SDRAM
    // The inputs of the part come from registers at its pins, which change with the clock.
    void memory() {
        const sdram::Inputs in = {board_.sdram_cke,   board_.sdram_cs_n, board_.sdram_ras_n,
                                  board_.sdram_cas_n, board_.sdram_we_n, board_.sdram_ba,
                                  board_.sdram_a,     board_.sdram_dm};
        const bool drives = board_.sdram_dq__en != 0;
        sdram_(clocks_->picoseconds(), board_.sdram_clk, in, board_.sdram_dq__out, drives);
    }
#endif

    void from_host() {
        unsigned char bytes[256];
        if (outward_.size() > 4096) return;
        const ssize_t count = read(terminal_, bytes, sizeof bytes);
        for (ssize_t i = 0; i < count; i++)
            for (char byte : noise_(bytes[i])) outward_.push_back(byte);
    }

    void to_host() {
        while (!inward_.empty() && inward_.front().due <= cycle_) {
            if (write(terminal_, &inward_.front().byte, 1) != 1) return;
            inward_.pop_front();
        }
    }

    void send() {
        if (sending_ == 0) {
            if (outward_.empty()) return;
            bits_ = 0x200u | unsigned(outward_.front()) << 1;
            outward_.pop_front();
            sent_++;
            sending_ = 10;
            send_wait_ = 0;
        }
        board_.rx = bits_ & 1;
        if (++send_wait_ == divisor_) {
            send_wait_ = 0;
            bits_ >>= 1;
            sending_--;
        }
    }

    void receive() {
        if (receiving_ == 0) {
            if (board_.tx) return;
            receiving_ = 10;
            receive_wait_ = divisor_ / 2;
            received_ = 0;
        } else if (--receive_wait_ == 0) {
            received_ |= unsigned(board_.tx) << (10 - receiving_);
            receive_wait_ = divisor_;
            if (--receiving_) return;
            came_++;
            if (received_ & 0x200u)
                for (char byte : noise_(received_ >> 1 & 0xFF))
                    inward_.push_back({cycle_ + latency_, static_cast<unsigned char>(byte)});
        }
    }

    void commands() {
        char text[256];
        const ssize_t count = read(0, text, sizeof text);
        if (count == 0) exit(0);
        if (count > 0) line_.append(text, size_t(count));
        for (size_t end; (end = line_.find('\n')) != std::string::npos; line_.erase(0, end + 1)) {
            unsigned long long value;
            if (sscanf(line_.c_str(), "latency %llu", &value) == 1) latency_ = value;
            if (sscanf(line_.c_str(), "errors %llu", &value) == 1) noise_.one_of = value;
            printf("%llu %llu %llu", (unsigned long long)cycle_, (unsigned long long)sent_,
                   (unsigned long long)came_);
#ifdef SDRAM
            printf(" %llu %llu %llu", (unsigned long long)sdram_.edges,
                   (unsigned long long)sdram_.reads, (unsigned long long)sdram_.writes);
#endif
            puts("");
            fflush(stdout);
        }
    }

    VerilatedContext context_;
    Vboard board_{&context_};
    std::optional<Clocks> clocks_;
#ifdef SDRAM
    sdram::Sdram sdram_;
#endif
    int terminal_, divisor_;
    uint64_t cycle_ = 0, latency_ = 0, sent_ = 0, came_ = 0;
    Noise noise_;
    std::deque<unsigned char> outward_;
    std::deque<Late> inward_;
    std::string line_;
    int sending_ = 0, send_wait_ = 0, receiving_ = 0, receive_wait_ = 0;
    unsigned bits_ = 0, received_ = 0;
};

} // namespace

int main(int argc, char** argv) {
    if (argc != 5) return 2;
    try {
        Pins(atof(argv[1]), atoi(argv[2]), unsigned(atoi(argv[3])), atoll(argv[4])).run();
    } catch (const std::exception& error) {
        fprintf(stderr, "%s\n", error.what());
        return 3;
    }
}
