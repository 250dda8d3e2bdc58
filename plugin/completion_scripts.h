// What makes shells ask `rewind complete`: all that is known of commands, options and volumes is
// there, and these scripts need not change with it.
#pragma once

namespace rw {

struct CompletionScript {
  const char* shell;
  const char* text;
};
inline constexpr char kShellNames[] = "bash, zsh or fish";

extern const CompletionScript kCompletionScripts[3];

}  // namespace rw
