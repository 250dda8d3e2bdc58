// The `rewind` command.
#pragma once

namespace rw {

// Exit codes; part of the interface.
inline constexpr int kExitDone = 0;
inline constexpr int kExitRefused = 1;  // one line on standard error says what and why
inline constexpr int kExitUsage = 2;    // the command line itself was not understood

int RunCommandLine(int argc, char** argv);

}  // namespace rw
