// How `main` gets its board: what stands behind -d.
#pragma once

#include "sigbit.h"

#define SIGBIT_DEVICE_DEFAULT "sigbit"
#define SIGBIT_DEVICE_USE                                                              \
    "name of the UIO device, and after a comma of the u-dma-buf if it has another; "   \
    SIGBIT_DEVICE_DEFAULT " unless given"

// Return 0, or not, with the reason. Close what was opened with sigbit_board_close.
int sigbit_board_open(sigbit_board *board, const char *name, sigbit_error *error);
void sigbit_board_close(sigbit_board *board);
