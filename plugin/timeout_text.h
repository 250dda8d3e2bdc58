// Time limits as people give them to commands.
#pragma once

#include <chrono>
#include <string>

namespace rw {

// "30" (seconds), "30s", "2m", as a limit of at least a second and at most a day. Throws
// Refused(EINVAL).
std::chrono::seconds ParseTimeout(const std::string& text);

}  // namespace rw
