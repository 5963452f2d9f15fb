// Runs Programs on an accelerator. No function allocates memory that outlives the call, except
// sigbit_program_read, and none depends on how registers and memory are accessed: a table of
// functions does that (sigbit_board).
#pragma once

#include "format.h"
#include "layout.h"
#include "registers.h"

#include <stddef.h>
#include <stdint.h>

enum {
    SIGBIT_TEXT_BYTES = 512,
    SIGBIT_RESIDENTS = 16, // Programs that a device tracks
};

// Return values of functions besides SIGBIT_DONE; the text has details.
enum {
    SIGBIT_BAD_FILE = 16,   // not a flat Program, or a damaged one
    SIGBIT_BAD_INPUT,       // a stored integer outside of the input's range
    SIGBIT_OTHER_DEVICE,    // not the accelerator that the Program was compiled for
    SIGBIT_NO_ROOM,         // the Program is larger than memory, or states of others are in its way
    SIGBIT_STOPPED,         // the accelerator reports an error
    SIGBIT_REFUSED,         // the accelerator was not idle
    SIGBIT_TIMEOUT,
    SIGBIT_BOARD,           // registers, interrupt or memory cannot be used
};

typedef struct {
    char text[SIGBIT_TEXT_BYTES];
} sigbit_error;

// Access to an accelerator. Functions that return an int return 0, or an errno.
typedef struct {
    void *context; // passed to each of them
    uint32_t (*read)(void *context, uint32_t offset);
    void (*write)(void *context, uint32_t offset, uint32_t value);
    // Return when there may be an interrupt, at the latest after `milliseconds`.
    int (*wait)(void *context, int milliseconds);
    // Called before the accelerator reads data written by the processor, and after the reverse.
    int (*to_device)(void *context, size_t offset, size_t size);
    int (*to_processor)(void *context, size_t offset, size_t size);
    uint8_t *memory;  // as the processor sees it
    uint64_t address; // as the accelerator sees it, a multiple of 4096
    size_t size;
} sigbit_board;

// A flat Program; pointers are into `data`.
typedef struct {
    uint8_t *data;
    const sigbit_file *file;
    const sigbit_setting *settings;
    const sigbit_segment *segments;
    const sigbit_port *inputs, *outputs;
} sigbit_program;

// Location of a Program in each port's part of memory; the one with the least `used` is evicted
// first, but none whose states are not the initial ones.
typedef struct {
    uint8_t digest[32];
    size_t base, size;
    uint64_t used; // 0: none
    int moved;     // its states are not the initial ones
} sigbit_resident;

typedef struct {
    const sigbit_board *board;
    sigbit_resident residents[SIGBIT_RESIDENTS];
    uint64_t runs;
    const sigbit_resident *ready; // the Program that the registers describe
    uint64_t counters[SIGBIT_COUNTERS]; // of the last run; UINT64_MAX: overflow
    uint32_t cause, index; // of SIGBIT_STOPPED: error cause and instruction
    sigbit_error error;
} sigbit_device;

// Read a whole flat Program from a file, and check its digest. Free it with sigbit_program_free.
int32_t sigbit_program_read(sigbit_program *program, const char *path, sigbit_error *error);
void sigbit_program_free(sigbit_program *program);

// Stored integers of an image [channels][height][width], and those of its output.
size_t sigbit_input_size(const sigbit_port *port);
size_t sigbit_output_size(const sigbit_port *port);

// Create a device for a board, which must outlive it: check that an accelerator answers, reset it.
int32_t sigbit_open(sigbit_device *device, const sigbit_board *board);

// Run file->images images: inputs[i] and outputs[i] are the stored integers of a port,
// [images][channels][height][width]. The Program and its constants are written once, and remain
// until another one needs the room. The device remains usable after an error. States stay in memory
// from run to run; they are initial after an error.
int32_t sigbit_run(sigbit_device *device, const sigbit_program *program,
                   const int64_t *const *inputs, int64_t *const *outputs, int milliseconds);

// Return to the initial states of a Program; another one may then take its place in memory.
void sigbit_reset_state(sigbit_device *device, const sigbit_program *program);
