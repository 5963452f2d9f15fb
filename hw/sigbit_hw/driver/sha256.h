// SHA-256 (FIPS 180-4).
#pragma once

#include <stddef.h>
#include <stdint.h>

void sigbit_sha256(const uint8_t *data, size_t size, uint8_t digest[32]);
