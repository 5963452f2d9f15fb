// A board's clock and the far end of its serial line: standard input is sent, what comes is printed.
// The clock runs all the time, so that the accelerator works while the host waits.
#include <poll.h>
#include <unistd.h>

#include "Vboard.h"
#include "verilated.h"

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    const int divisor = std::atoi(argv[1]);
    VerilatedContext context;
    Vboard board{&context};
    board.rx = 1;
    board.rst = 1;
    int sending = 0, send_wait = 0, receiving = 0, receive_wait = 0;
    unsigned send_bits = 0, received = 0;
    for (long cycle = 0;; cycle++) {
        if (cycle == 8) board.rst = 0;
        board.clk = 0;
        board.eval();
        board.clk = 1;
        board.eval();
        if (cycle < 16) continue;

        if (sending == 0) {
            pollfd input{0, POLLIN, 0};
            unsigned char byte;
            if (cycle % 16 == 0 && poll(&input, 1, 0) > 0) {
                if (read(0, &byte, 1) != 1) return 0;
                send_bits = 0x200u | unsigned(byte) << 1;
                sending = 10;
                send_wait = 0;
            }
        }
        if (sending > 0) {
            board.rx = send_bits & 1;
            if (++send_wait == divisor) {
                send_wait = 0;
                send_bits = send_bits >> 1 | 0x200u;
                sending--;
            }
        } else {
            board.rx = 1;
        }

        if (receiving == 0 && !board.tx) {
            receiving = 10;
            receive_wait = divisor / 2;
            received = 0;
        } else if (receiving > 0 && --receive_wait == 0) {
            received |= unsigned(board.tx) << (10 - receiving);
            receive_wait = divisor;
            if (--receiving == 0) {
                const unsigned char byte = received >> 1;
                if (!(received & 0x200u) || write(1, &byte, 1) != 1) return 1;
            }
        }
    }
}
