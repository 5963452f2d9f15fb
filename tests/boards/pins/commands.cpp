// Commands to an SDRAM, one a line on standard input: nanoseconds since the last one, name, bank,
// address, data, mask. Each is at a rising edge of a clock of the period that the argument says;
// the pins change a quarter of it before. Reads are answered with their word, a violation ends the
// program with its text.
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <map>
#include <string>

#include "sdram.h"

namespace {

const std::map<std::string, unsigned> CODES = {
    {"nop", 0b111},       {"activate", 0b011}, {"read", 0b101}, {"write", 0b100},
    {"precharge", 0b010}, {"refresh", 0b001},  {"mode", 0b000}, {"stop", 0b110},
};

class Driver {
public:
    explicit Driver(sdram::Time period) : period_(period) {}

    void cycle(const std::string& name, unsigned bank, unsigned a, unsigned data, unsigned mask) {
        const bool low = name == "low";
        const unsigned code = low ? 0b111 : CODES.at(name);
        const sdram::Inputs in = {!low,     code == 0b111, code >> 2,   code >> 1 & 1,
                                  code & 1, bank,          a,           mask};
        const bool drives = name == "write";
        part_(now_ - period_ / 4, false, in, data, drives);
        part_(now_, true, in, data, drives);
        part_(now_ + period_ / 4, true, in, data, drives);
        part_(now_ + period_ / 2, false, in, data, drives);
        now_ += period_;
    }

    void idle(sdram::Time picoseconds) {
        for (sdram::Time end = now_ + picoseconds - period_; now_ < end;)
            cycle("nop", 0, 0, 0, 0);
    }

    // What is on the data pins when a controller would take the word of the last command.
    unsigned word() {
        cycle("nop", 0, 0, 0, 0);
        return part_.data(now_ - 1);
    }

private:
    sdram::Sdram part_;
    sdram::Time period_, now_ = 1'000'000;
};

} // namespace

int main(int, char** argv) {
    Driver driver(atoll(argv[1]));
    std::string name;
    sdram::Time wait;
    unsigned bank, a, data, mask;
    try {
        while (std::cin >> wait >> name >> bank >> a >> data >> mask) {
            driver.idle(wait * 1000);
            driver.cycle(name, bank, a, data, mask);
            if (name == "read") printf("%u\n", driver.word());
        }
    } catch (const sdram::Violation& violation) {
        fprintf(stderr, "%s\n", violation.what());
        return 3;
    }
}
