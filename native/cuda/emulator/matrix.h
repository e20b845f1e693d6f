// Products of fragments and loads of 8 x 8 matrices for a whole warp, once all its lanes have come.
#pragma once

namespace heddle::emulator {

struct Thread;

void multiply_fragments(Thread* lanes);
void load_fragments(Thread* lanes);

}  // namespace heddle::emulator
