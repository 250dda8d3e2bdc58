// The daemon's log, on standard error: one line an event.
#pragma once

#include <string>

namespace rw {

// `format`: "text", or "json": one object a line, with "time", "level" and "message". Throws
// Refused(EINVAL) for a level or format that means nothing.
void SetUpLog(const std::string& level, const std::string& format);
// From now on. Throws Refused(EINVAL).
void SetLogLevel(const std::string& level);
std::string LogLevel();

}  // namespace rw
