#pragma once
#include "common.h"

/* to [length][out] = from [length][in] @ matrix [in][out] + bias */
__attribute__((visibility("hidden"))) void product(float *to, const float *from, const float *matrix, const float *bias, int64_t length,
                                                   int in, int out);
