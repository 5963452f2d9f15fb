// A board's part at its pins: oscillator, and a serial line whose other end is a pseudo-terminal.
//
// Arguments: cycles of the made clock a bit, seed. The terminal's name is
// the first line on standard output. Each line on standard input is answered with the
// cycles of the made clock so far and the bytes sent to and from the board. "latency N": N cycles
// pass from a byte's end until the host has it; "errors N": of N bytes, in either direction, one is
// flipped in a bit, dropped, or preceded by another one (0: none); others change nothing.
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <deque>
#include <random>
#include <string>

#include "Vboard.h"
#include "Vboard___024root.h"
#include "verilated.h"

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

class Pins {
public:
    Pins(int divisor, unsigned seed) : divisor_(divisor), noise_(seed) {
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
        ratio_ = double(board_.rootp->sigbit_board__DOT__pll__DOT__reference) /
                 board_.rootp->sigbit_board__DOT__pll__DOT__feedback / 2;
    }

    [[noreturn]] void run() {
        for (;; cycle_++) {
            half(1);
            half(0);
            if (cycle_ % 64 == 0) from_host();
            if (cycle_ % 1024 == 0) commands();
            send();
            receive();
            if (cycle_ % 64 == 0) to_host();
        }
    }

private:
    void half(int level) {
        board_.rootp->sigbit_board__DOT__pll__DOT__made = level;
        phase_ += ratio_;
        if (phase_ >= 0.5) {
            phase_ -= 0.5;
            board_.clock = !board_.clock;
        }
        board_.eval();
    }

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
            printf("%llu %llu %llu\n", (unsigned long long)cycle_, (unsigned long long)sent_,
                   (unsigned long long)came_);
            fflush(stdout);
        }
    }

    VerilatedContext context_;
    Vboard board_{&context_};
    int terminal_, divisor_;
    double ratio_, phase_ = 0;
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
    if (argc != 3) return 2;
    Pins(atoi(argv[1]), unsigned(atoi(argv[2]))).run();
}
