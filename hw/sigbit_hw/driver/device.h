// What the files of the driver share with each other.
#pragma once

#include "sigbit.h"

// Keep the text of an error; return the status.
int32_t sigbit_fail(sigbit_device *device, int32_t status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
int32_t sigbit_broken(sigbit_device *device, const char *what, int error);

// Every port has a part of memory; of every beat, the first bytes lie in the first port's.
size_t sigbit_part_bytes(const sigbit_device *device, const sigbit_file *file);

// Bytes of whole beats into, and out of, the window that begins at `base` of every part. NULL: zeros.
int32_t sigbit_put(sigbit_device *device, const sigbit_file *file, size_t base, size_t offset,
                   const uint8_t *data, size_t size);
int32_t sigbit_take(sigbit_device *device, const sigbit_file *file, size_t base, size_t offset,
                    uint8_t *data, size_t size);

// The place of a Program in memory; NULL if it is not there.
sigbit_resident *sigbit_find(sigbit_device *device, const sigbit_file *file);

// Have a Program in memory.
int32_t sigbit_place(sigbit_device *device, const sigbit_program *program, sigbit_resident **found);
