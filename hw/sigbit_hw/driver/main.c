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
    "use: sigbit-run [-d DEVICE] [-t SECONDS] [-c] [-o OUTPUT.npy]... PROGRAM.flat INPUT.npy...\n"
    "\n"
    "Run a Program on arrays [N, C, H, W] or [C, H, W], one for each of its inputs, in their order:\n"
    "floats are real values, integers are in units of the input's scale. Outputs are written as\n"
    "stored integers, in the order of -o; real value = scale * (stored + zero).\n"
    "\n"
    "  -d DEVICE    " SIGBIT_DEVICE_USE "\n"
    "  -t SECONDS   that a run may take; 10 unless given\n"
    "  -c           print the counters of the last run\n";

static int refuse(const char *what, const char *why)
{
    fprintf(stderr, "sigbit-run: %s%s%s\n", what, *why ? ": " : "", why);
    return WRONG_USE;
}

// Stored integers of a port from users' values; if they do not fit, prints the error and returns NULL.
static int64_t *stored_of(const sigbit_port *port, const npy_array *array, const char *path)
{
    const size_t each = sigbit_input_size(port), first = array->dimensions - 3;
    const sigbit_layout *p = &port->layout;
    if (array->dimensions < 3 || array->shape[first] != (size_t)p->channels
        || array->shape[first + 1] != (size_t)p->height || array->shape[first + 2] != (size_t)p->width) {
        fprintf(stderr, "sigbit-run: %s: %s must have shape [N, %" PRId32 ", %" PRId32 ", %" PRId32 "]\n",
                path, (const char *)port->name, p->channels, p->height, p->width);
        return NULL;
    }
    const size_t count = each * (first ? array->shape[0] : 1);
    int64_t *stored = malloc(count * sizeof *stored + 1);
    for (size_t i = 0; stored && i < count; ++i) {
        if (array->is_real) {
            double value = round(array->reals[i] / port->scale - port->zero);
            if (!isfinite(array->reals[i])) {
                refuse(path, "holds NaN or infinity");
                free(stored);
                return NULL;
            }
            stored[i] = value < port->low ? port->low : value > port->high ? port->high : (int64_t)value;
        } else {
            int64_t low = (int64_t)port->low + port->zero, high = (int64_t)port->high + port->zero;
            if (array->integers[i] < low || array->integers[i] > high) {
                fprintf(stderr, "sigbit-run: %s: integers must be in [%" PRId64 ", %" PRId64 "] (units "
                        "of the scale %g), not %" PRId64 "\n", path, low, high, port->scale,
                        array->integers[i]);
                free(stored);
                return NULL;
            }
            stored[i] = array->integers[i] - port->zero;
        }
    }
    if (!stored) refuse(path, "is too large for this machine's memory");
    return stored;
}

typedef struct {
    const char *device, *program, *outputs[PORTS];
    char **inputs;
    size_t output_count;
    int milliseconds, counters;
} arguments;

static int parse(int count, char **values, arguments *a)
{
    int option;
    char *end;
    *a = (arguments){.device = SIGBIT_DEVICE_DEFAULT, .milliseconds = 10000};
    while ((option = getopt(count, values, "d:t:o:c")) != -1) {
        double seconds = option == 't' ? strtod(optarg, &end) : 0;
        if (option == 'd') a->device = optarg;
        else if (option == 'c') a->counters = 1;
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
        inputs[i] = stored_of(&program->inputs[i], &array, a->inputs[i]);
        size_t count = array.dimensions == 4 ? array.shape[0] : 1;
        npy_free(&array);
        if (!inputs[i]) return WRONG_USE;
        if (i && count != *images) return refuse(a->inputs[i], "has another number of images");
        *images = count;
    }
    if (*images && !(*images % program->file->images)) return 0;
    fprintf(stderr, "sigbit-run: %s takes %" PRIu32 " images a run: give a multiple, not %zu\n",
            a->program, program->file->images, *images);
    return WRONG_USE;
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
        const sigbit_layout *p = &program->outputs[i].layout;
        const size_t shape[] = {images, (size_t)p->out_channels, (size_t)p->out_height,
                                (size_t)p->out_width};
        const char *wrong = npy_write(a->outputs[i], outputs[i], shape);
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
