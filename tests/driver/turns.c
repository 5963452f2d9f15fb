// Runs in turn on one device: SOCKET MILLISECONDS (PROGRAM.flat INPUTS OUTPUTS)...; inputs and
// outputs are files of stored integers, of all ports one behind the other. Prints what came of each.
// Where INPUTS is "reset", the Program's states become initial, and nothing runs.
#include "open.h"
#include "sigbit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PORTS = 8 };

static int turn(sigbit_device *device, char **names, int milliseconds)
{
    sigbit_program program;
    sigbit_error error;
    if (sigbit_program_read(&program, names[0], &error)) return puts(error.text), 1;
    const sigbit_file *file = program.file;
    if (!strcmp(names[1], "reset")) {
        sigbit_reset_state(device, &program);
        sigbit_program_free(&program);
        return puts("reset") < 0;
    }
    int64_t *in[PORTS] = {0}, *out[PORTS] = {0};
    FILE *from = fopen(names[1], "rb"), *to = fopen(names[2], "wb");
    int good = from && to;
    for (uint32_t i = 0; i < file->inputs; ++i) {
        size_t count = file->images * sigbit_input_size(&program.inputs[i]);
        in[i] = malloc(count * sizeof **in);
        good = good && fread(in[i], sizeof **in, count, from) == count;
    }
    for (uint32_t i = 0; i < file->outputs; ++i)
        out[i] = calloc(file->images * sigbit_output_size(&program.outputs[i]), sizeof **out);
    if (good) {
        int32_t status =
            sigbit_run(device, &program, (const int64_t *const *)in, out, milliseconds);
        printf("%d %s\n", (int)status, status ? device->error.text : "");
    }
    for (uint32_t i = 0; i < file->outputs; ++i) {
        size_t count = file->images * sigbit_output_size(&program.outputs[i]);
        good = good && fwrite(out[i], sizeof **out, count, to) == count;
    }
    if (from) fclose(from);
    if (to) fclose(to);
    for (size_t i = 0; i < PORTS; ++i) free(in[i]), free(out[i]);
    sigbit_program_free(&program);
    return !good;
}

int main(int count, char **names)
{
    sigbit_board board;
    sigbit_device device;
    sigbit_error error;
    if (count < 3 || sigbit_board_open(&board, names[1], &error)) return 1;
    int wrong = sigbit_open(&device, &board);
    if (wrong) puts(device.error.text);
    for (int i = 3; i + 2 < count && !wrong; i += 3) wrong = turn(&device, names + i, atoi(names[2]));
    sigbit_board_close(&board);
    return wrong;
}
