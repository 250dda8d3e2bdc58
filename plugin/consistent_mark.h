// `rewind mark --consistent`: keeps the containers that use volumes still while these are marked.
#pragma once

#include <filesystem>

#include "plugin/history_commands.h"

namespace rw {

// Marks the volumes of the request, or those of its Compose project, consistently or not as it
// says, and prints the instant. Throws Refused. Whatever happens, no container stays paused.
void RunMarkCommand(const std::filesystem::path& socket, MarkRequest request, bool json);

}  // namespace rw
