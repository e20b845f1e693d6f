// The text of what a kernel refused.
#pragma once
#include <string>

#include "cuda/failure.h"

namespace heddle {

// The message registered under the slot's code with its values filled in.
std::string refusal_message(const FailureSlot& slot);

}  // namespace heddle
