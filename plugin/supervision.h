// What a supervisor hands to the program that takes its place in the same process.
//
// Like everything that one program leaves to another it is JSON: fields may be added, and not
// changed. Who cannot read it says so in a check, while the one before still does the work.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "plugin/channel.h"

namespace rw {

struct Supervision {
  Inheritance state;  // the channel's end is the supervisor's
  pid_t daemon = -1;
  std::string program;  // the path where a newer program is found
};

// Of this process; nothing if no supervisor was in it before. Can be taken once. Throws what
// parsing throws.
std::optional<Supervision> TakeSupervision();

// Whether this process was only started to see whether it can take what TakeSupervision gave.
bool IsCheckOfSupervision();

// A descriptor of memory that holds `text` and passes exec. Throws Refused if there is none.
int MakeMemory(const std::string& text);

// Replaces this process by `arguments[0]`, in whose environment `variable` names `memory`. Returns
// only if that fails, with errno.
void Execute(const char* program, std::vector<std::string> arguments, const char* variable,
             int memory);

// Starts `arguments[0]` to see whether it can take over; it can if it exits with 0. Returns its
// process id. Throws Refused if it cannot be started.
pid_t StartCheck(const Supervision& supervision, const std::vector<std::string>& arguments);

// Replaces this process by `arguments[0]`, which goes on with all that is in `supervision`. Returns
// only if that fails, with errno, and nothing has changed. Throws Refused as MakeMemory does.
int HandOver(const Supervision& supervision, const std::vector<std::string>& arguments);

}  // namespace rw
