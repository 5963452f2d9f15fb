// Programs on an accelerator: memory placement, registers, waiting, errors.
#define _POSIX_C_SOURCE 200809L

#include "device.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { IDLE_MILLISECONDS = 2000, WAIT_MILLISECONDS = 50 };

static const char *const CAUSES[] = SIGBIT_CAUSE_TEXTS;

static uint32_t get(const sigbit_device *device, uint32_t offset)
{
    return device->board->read(device->board->context, offset);
}

static void set(const sigbit_device *device, uint32_t offset, uint32_t value)
{
    device->board->write(device->board->context, offset, value);
}

static int64_t now(void) // milliseconds
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

// Stop the current run, and wait until no transfer is outstanding.
static int32_t reset(sigbit_device *device)
{
    const int64_t end = now() + IDLE_MILLISECONDS;
    device->ready = NULL;
    do {
        set(device, SIGBIT_REG_CONTROL, SIGBIT_CONTROL_SOFT_RESET);
        if (get(device, SIGBIT_REG_STATUS) & SIGBIT_STATUS_BUS_IDLE) return SIGBIT_DONE;
    } while (now() < end);
    return sigbit_fail(device, SIGBIT_BOARD,
                "the accelerator's bus does not become idle: load the bitstream again");
}

int32_t sigbit_open(sigbit_device *device, const sigbit_board *board)
{
    *device = (sigbit_device){.board = board};
    uint32_t magic = get(device, SIGBIT_REG_MAGIC), version = get(device, SIGBIT_REG_VERSION);
    if (magic != SIGBIT_MAGIC)
        return sigbit_fail(device, SIGBIT_OTHER_DEVICE,
                    "no accelerator answers: MAGIC is 0x%08" PRIx32 ", not 0x%08x: is the bitstream "
                    "loaded?", magic, SIGBIT_MAGIC);
    if (version != SIGBIT_VERSION)
        return sigbit_fail(device, SIGBIT_OTHER_DEVICE,
                    "the accelerator's register map has version %" PRIu32 ", this driver knows %u: "
                    "make both by the same sigbit", version, SIGBIT_VERSION);
    return reset(device);
}

static int32_t identify(sigbit_device *device, const sigbit_file *file)
{
    uint32_t low = get(device, SIGBIT_REG_DIGEST_LO), high = get(device, SIGBIT_REG_DIGEST_HI);
    if (low == file->arch_lo && high == file->arch_hi) return SIGBIT_DONE;
    return sigbit_fail(device, SIGBIT_OTHER_DEVICE,
                "%s was compiled for the accelerator %08" PRIx32 "%08" PRIx32 ", this is %08" PRIx32
                "%08" PRIx32 ": compile it for this one",
                (const char *)file->name, file->arch_lo, file->arch_hi, low, high);
}

static void set_up(sigbit_device *device, const sigbit_program *program, const sigbit_resident *r)
{
    static const uint32_t LOW[] = SIGBIT_BASE_LOW, HIGH[] = SIGBIT_BASE_HIGH;
    const sigbit_file *file = program->file;
    for (uint32_t i = 0; i < file->registers; ++i)
        set(device, program->settings[i].offset, program->settings[i].value);
    for (size_t port = 0; port < file->ports; ++port) {
        uint64_t base = device->board->address + port * sigbit_part_bytes(device, file) + r->base;
        set(device, LOW[port], (uint32_t)base);
        set(device, HIGH[port], (uint32_t)(base >> 32));
    }
    device->ready = r;
}

static int32_t put_inputs(sigbit_device *device, const sigbit_program *program, size_t base,
                          const int64_t *const *inputs)
{
    int32_t status = SIGBIT_DONE;
    for (uint32_t i = 0; i < program->file->inputs && !status; ++i) {
        const sigbit_port *port = &program->inputs[i];
        const uint32_t *codes = (const uint32_t *)(const void *)(program->data + port->table);
        const size_t bytes = (size_t)port->layout.bytes;
        uint8_t *data = malloc(bytes);
        if (!data) return sigbit_fail(device, SIGBIT_NO_MEMORY, "out of memory");
        for (uint32_t image = 0; image < program->file->images && !status; ++image) {
            const int64_t *stored = inputs[i] + image * sigbit_input_size(port);
            status = sigbit_pack(&port->layout, codes, stored, data);
            if (status == SIGBIT_NO_SUCH_CODE)
                status = sigbit_fail(device, SIGBIT_BAD_INPUT,
                              "%s: stored integers must be in [%" PRId32 ", %" PRId32 "]",
                              (const char *)port->name, port->low, port->high);
            else if (status) sigbit_fail(device, status, "out of memory");
            else status = sigbit_put(device, program->file, base, port->offset + image * bytes, data, bytes);
        }
        free(data);
    }
    return status;
}

static int32_t take_outputs(sigbit_device *device, const sigbit_program *program, size_t base,
                            int64_t *const *outputs)
{
    int32_t status = SIGBIT_DONE;
    for (uint32_t i = 0; i < program->file->outputs && !status; ++i) {
        const sigbit_port *port = &program->outputs[i];
        const int64_t *values = (const int64_t *)(const void *)(program->data + port->table);
        const size_t bytes = (size_t)port->layout.bytes;
        uint8_t *data = malloc(bytes);
        if (!data) return sigbit_fail(device, SIGBIT_NO_MEMORY, "out of memory");
        for (uint32_t image = 0; image < program->file->images && !status; ++image) {
            int64_t *stored = outputs[i] + image * sigbit_output_size(port);
            status = sigbit_take(device, program->file, base, port->offset + image * bytes, data, bytes);
            if (!status && sigbit_unpack(&port->layout, values, data, stored))
                status = sigbit_fail(device, SIGBIT_BOARD,
                              "%s: memory holds codes that do not exist: is it shared with "
                              "something else?", (const char *)port->name);
        }
        free(data);
    }
    return status;
}

static int32_t wait_for_end(sigbit_device *device, const sigbit_program *program, int milliseconds)
{
    const int64_t end = now() + milliseconds;
    const sigbit_board *board = device->board;
    uint32_t pending;
    while (!(pending = get(device, SIGBIT_REG_IRQ_STATUS) & SIGBIT_IRQ_BITS)) {
        int64_t left = end - now();
        if (left <= 0)
            return sigbit_fail(device, SIGBIT_TIMEOUT, "%s: not done within %d ms",
                        (const char *)program->file->name, milliseconds);
        int error = board->wait(board->context, left < WAIT_MILLISECONDS ? (int)left : WAIT_MILLISECONDS);
        if (error) return sigbit_broken(device, "waiting for the interrupt failed", error);
    }
    for (uint32_t i = 0; i < SIGBIT_COUNTERS; ++i) {
        device->counters[i] = get(device, SIGBIT_FIRST_COUNTER + 4 * i);
        if (get(device, SIGBIT_REG_OVERFLOW) >> i & 1) device->counters[i] = UINT64_MAX;
    }
    device->counters[0] |= (uint64_t)get(device, SIGBIT_REG_CYCLES_HI) << 32;
    if (pending & SIGBIT_IRQ_REFUSED)
        return sigbit_fail(device, SIGBIT_REFUSED,
                    "the accelerator refused to be started: does another program use it?");
    if (!(pending & SIGBIT_IRQ_ERROR)) return SIGBIT_DONE;
    device->cause = get(device, SIGBIT_REG_CAUSE);
    device->index = get(device, SIGBIT_REG_CAUSE_INDEX);
    const size_t known = sizeof CAUSES / sizeof *CAUSES;
    return sigbit_fail(device, SIGBIT_STOPPED, "%s: instruction %" PRIu32 ": %s",
                (const char *)program->file->name, device->index,
                device->cause < known ? CAUSES[device->cause] : "a cause that this driver does not know");
}

static int32_t run(sigbit_device *device, const sigbit_program *program,
                   const int64_t *const *inputs, int64_t *const *outputs, int milliseconds)
{
    sigbit_resident *resident = NULL;
    int32_t status = identify(device, program->file);
    if (!status) status = sigbit_place(device, program, &resident);
    if (!status) status = put_inputs(device, program, resident->base, inputs);
    if (status) return status;
    resident->used = ++device->runs;
    resident->moved = program->file->states > 0;
    if (device->ready != resident) set_up(device, program, resident);
    set(device, SIGBIT_REG_CONTROL, SIGBIT_CONTROL_START);
    status = wait_for_end(device, program, milliseconds);
    return status ? status : take_outputs(device, program, resident->base, outputs);
}

void sigbit_reset_state(sigbit_device *device, const sigbit_program *program)
{
    sigbit_resident *r = sigbit_find(device, program->file);
    if (!r || !r->moved) return;
    if (device->ready == r) device->ready = NULL;
    *r = (sigbit_resident){0}; // written anew before its next run
}

int32_t sigbit_run(sigbit_device *device, const sigbit_program *program,
                   const int64_t *const *inputs, int64_t *const *outputs, int milliseconds)
{
    int32_t status = run(device, program, inputs, outputs, milliseconds);
    if (status) {
        const sigbit_error why = device->error;
        sigbit_reset_state(device, program);
        if (reset(device)) return SIGBIT_BOARD;
        device->error = why;
    }
    return status;
}
