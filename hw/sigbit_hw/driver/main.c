// Runs a flat Program on arrays, like `sigbit run NET.sigbit INPUT.npy`, on the board itself.
#define _POSIX_C_SOURCE 200809L

#include "npy.h"
#include "open.h"
#include "sigbit.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WRONG_USE = 2, PORTS = 64, SECONDS_MAX = 1000000 };

static const char USE[] =
    "use: sigbit-run [-d DEVICE] [-t SECONDS] [-c] [-s] [-o OUTPUT.npy]... PROGRAM.flat INPUT.npy...\n"
    "\n"
    "Run a Program on arrays [N, ...] of the network's own shapes, one for each of its inputs, in their\n"
    "order. They hold real values, and so do the outputs, which are written in the order of -o: what\n"
    "the Program leaves to the host is not done. Where it has states, the samples are steps in time,\n"
    "from the initial states on.\n"
    "\n"
    "  -d DEVICE    " SIGBIT_DEVICE_USE "\n"
    "  -t SECONDS   that a run may take; 10 unless given\n"
    "  -s           arrays hold stored integers; real value = scale * (stored + zero)\n"
    "  -c           print the counters of the last run\n";

static int refuse(const char *what, const char *why)
{
    fprintf(stderr, "sigbit-run: %s%s%s\n", what, *why ? ": " : "", why);
    return WRONG_USE;
}

// Whether an array holds samples of a port in the network's own shape; if not, prints the error.
static int fits(const sigbit_port *port, const npy_array *array, const char *path)
{
    int same = array->dimensions == port->dimensions + 1;
    for (uint32_t i = 0; same && i < port->dimensions; ++i)
        same = array->shape[i + 1] == port->shape[i];
    if (same) return 1;
    fprintf(stderr, "sigbit-run: %s: %s must have shape [N", path, (const char *)port->name);
    for (uint32_t i = 0; i < port->dimensions; ++i) fprintf(stderr, ", %" PRIu32, port->shape[i]);
    fprintf(stderr, "]\n");
    return 0;
}

// Position in a stored array of element i of a user's: channels that come last, as those of a sequence
// [steps][features] do, are stored first.
static size_t place(const sigbit_port *port, size_t i)
{
    if (!port->transposed) return i;
    const size_t channels = port->shape[port->dimensions - 1];
    size_t pixels = 1;
    for (uint32_t axis = 0; axis + 1 < port->dimensions; ++axis) pixels *= port->shape[axis];
    const size_t each = pixels * channels;
    return i / each * each + i % channels * pixels + i % each / channels;
}

// The stored integer of element i; 0, and what is wrong printed, if there is none.
static int stored_value(const sigbit_port *port, const npy_array *array, const char *path, int stored,
                        size_t i, int64_t *to)
{
    if (stored) {
        *to = array->integers[i];
        if (*to >= port->low && *to <= port->high) return 1;
        fprintf(stderr, "sigbit-run: %s: stored integers must be in [%" PRId32 ", %" PRId32 "], not %"
                PRId64 "\n", path, port->low, port->high, *to);
        return 0;
    }
    const double real = array->is_real ? array->reals[i] : (double)array->integers[i];
    if (!isfinite(real)) return refuse(path, "holds NaN or infinity"), 0;
    const double value = round(real / port->scale - port->zero);
    *to = value < port->low ? port->low : value > port->high ? port->high : (int64_t)value;
    return 1;
}

// Stored integers of a port from users' values; NULL, and what is wrong printed, if they do not fit.
static int64_t *stored_of(const sigbit_port *port, const npy_array *array, const char *path, int stored)
{
    if (!fits(port, array, path)) return NULL;
    if (stored && array->is_real) return refuse(path, "-s: stored integers must be integers"), NULL;
    const size_t count = sigbit_input_size(port) * array->shape[0];
    int64_t *all = malloc(count * sizeof *all + 1);
    if (!all) refuse(path, "is too large for this machine's memory");
    for (size_t i = 0; all && i < count; ++i)
        if (!stored_value(port, array, path, stored, i, &all[place(port, i)])) {
            free(all);
            return NULL;
        }
    return all;
}

typedef struct {
    const char *device, *program, *outputs[PORTS];
    char **inputs;
    size_t output_count;
    int milliseconds, counters, stored;
} arguments;

static int parse(int count, char **values, arguments *a)
{
    int option;
    char *end;
    *a = (arguments){.device = SIGBIT_DEVICE_DEFAULT, .milliseconds = 10000};
    while ((option = getopt(count, values, "d:t:o:cs")) != -1) {
        double seconds = option == 't' ? strtod(optarg, &end) : 0;
        if (option == 'd') a->device = optarg;
        else if (option == 'c') a->counters = 1;
        else if (option == 's') a->stored = 1;
        else if (option == 'o' && a->output_count < PORTS) a->outputs[a->output_count++] = optarg;
        else if (option == 't' && !*end && seconds > 0 && seconds <= SECONDS_MAX)
            a->milliseconds = seconds > 1000000 ? 1000000000 : (int)ceil(seconds * 1000);
        else return fputs(USE, stderr), WRONG_USE;
    }
    if (count - optind < 2) return fputs(USE, stderr), WRONG_USE;
    a->program = values[optind];
    a->inputs = values + optind + 1;
    return 0;
}

// Run all images, file->images at a time.
static int run_all(const arguments *a, const sigbit_program *program, int64_t *const *inputs,
                   int64_t *const *outputs, size_t images)
{
    const sigbit_file *file = program->file;
    const int64_t *in[PORTS];
    int64_t *out[PORTS];
    sigbit_board board;
    sigbit_device device;
    sigbit_error error;
    if (sigbit_board_open(&board, a->device, &error)) return refuse(error.text, "");
    int32_t status = sigbit_open(&device, &board);
    for (size_t image = 0; image < images && !status; image += file->images) {
        for (uint32_t i = 0; i < file->inputs; ++i)
            in[i] = inputs[i] + image * sigbit_input_size(&program->inputs[i]);
        for (uint32_t i = 0; i < file->outputs; ++i)
            out[i] = outputs[i] + image * sigbit_output_size(&program->outputs[i]);
        status = sigbit_run(&device, program, in, out, a->milliseconds);
    }
    static const char *const NAMES[] = SIGBIT_COUNTER_NAMES;
    for (size_t i = 0; a->counters && !status && i < SIGBIT_COUNTERS; ++i)
        printf("%s %" PRIu64 "\n", NAMES[i], device.counters[i]);
    sigbit_board_close(&board);
    if (status) fprintf(stderr, "sigbit-run: %s\n", device.error.text);
    return status ? status == SIGBIT_BAD_INPUT ? WRONG_USE : 1 : 0;
}

static int read_inputs(const arguments *a, const sigbit_program *program, int64_t **inputs,
                       size_t *images)
{
    for (uint32_t i = 0; i < program->file->inputs; ++i) {
        npy_array array;
        const char *wrong = npy_read(&array, a->inputs[i]);
        if (wrong) return refuse(a->inputs[i], wrong);
        inputs[i] = stored_of(&program->inputs[i], &array, a->inputs[i], a->stored);
        size_t count = array.shape[0];
        npy_free(&array);
        if (!inputs[i]) return WRONG_USE;
        if (i && count != *images) return refuse(a->inputs[i], "has another number of images");
        *images = count;
    }
    if (*images && !(*images % program->file->images)) return 0;
    fprintf(stderr, "sigbit-run: %s takes %" PRIu32 " images per run: give a multiple, not %zu\n",
            a->program, program->file->images, *images);
    return WRONG_USE;
}

// Write an output as the network's user has it; NULL, or what is wrong.
static const char *write_output(const sigbit_port *port, int64_t *values, size_t images, int stored,
                                const char *path)
{
    const size_t count = images * sigbit_output_size(port);
    size_t shape[NPY_AXES] = {images};
    npy_array array = {.integers = values, .dimensions = port->dimensions + 1};
    for (uint32_t i = 0; i < port->dimensions; ++i) shape[i + 1] = port->shape[i];
    memcpy(array.shape, shape, sizeof shape);
    if (stored) return npy_write(path, &array);
    array.is_real = 1;
    array.reals = malloc(count * sizeof *array.reals + 1);
    if (!array.reals) return "is too large for this machine's memory";
    for (size_t i = 0; i < count; ++i) array.reals[i] = port->scale * ((double)values[i] + port->zero);
    const char *wrong = npy_write(path, &array);
    free(array.reals);
    return wrong;
}

static int work(const arguments *a, const sigbit_program *program, int64_t **inputs,
                int64_t **outputs)
{
    size_t images = 0;
    int status = read_inputs(a, program, inputs, &images);
    if (status) return status;
    for (uint32_t i = 0; i < program->file->outputs; ++i) {
        outputs[i] = malloc(images * sigbit_output_size(&program->outputs[i]) * sizeof **outputs + 1);
        if (!outputs[i]) return refuse("out of memory", "");
    }
    status = run_all(a, program, inputs, outputs, images);
    for (size_t i = 0; i < a->output_count && !status; ++i) {
        const char *wrong =
            write_output(&program->outputs[i], outputs[i], images, a->stored, a->outputs[i]);
        if (wrong) status = refuse(a->outputs[i], wrong);
    }
    return status;
}

int main(int count, char **values)
{
    arguments a;
    sigbit_program program;
    sigbit_error error;
    int64_t *inputs[PORTS] = {0}, *outputs[PORTS] = {0};
    int status = parse(count, values, &a);
    if (status) return status;
    if (sigbit_program_read(&program, a.program, &error)) return refuse(error.text, "");
    const sigbit_file *file = program.file;
    if (file->inputs > PORTS || file->outputs > PORTS)
        status = refuse(a.program, "has more inputs or outputs than this program takes");
    else if ((size_t)(values + count - a.inputs) != file->inputs || a.output_count > file->outputs) {
        fprintf(stderr, "sigbit-run: %s has %" PRIu32 " inputs and %" PRIu32 " outputs\n", a.program,
                file->inputs, file->outputs);
        status = WRONG_USE;
    } else status = work(&a, &program, inputs, outputs);
    for (size_t i = 0; i < PORTS; ++i) free(inputs[i]), free(outputs[i]);
    sigbit_program_free(&program);
    return status;
}
