// The daemon's settings: one table that drives the command line and the test of the README.
#pragma once

#include <string>

namespace rw {

inline constexpr char kDefaultRoot[] = "/var/lib/rewind";
inline constexpr char kDefaultSocket[] = "/run/docker/plugins/rewind.sock";
inline constexpr char kDefaultMounts[] = "/run/rewind/mounts";
inline constexpr char kDefaultLogLevel[] = "info";

struct ServeSettings {
  std::string root = kDefaultRoot;
  std::string socket = kDefaultSocket;
  std::string mounts = kDefaultMounts;
  std::string log_level = kDefaultLogLevel;
};

struct Setting {
  const char* flag;         // of `rewind serve`
  const char* environment;  // the variable that is used if the flag is not given
  const char* argument;
  const char* default_value;
  const char* meaning;  // one line
  std::string ServeSettings::*value;
};

inline constexpr Setting kSettings[] = {
    {"--root", "REWIND_ROOT", "DIR", kDefaultRoot, "where the volumes and their history are kept",
     &ServeSettings::root},
    {"--socket", "REWIND_SOCKET", "PATH", kDefaultSocket,
     "the socket on which Docker and the command line reach the daemon", &ServeSettings::socket},
    {"--mounts", "REWIND_MOUNTS", "DIR", kDefaultMounts, "where volumes are mounted",
     &ServeSettings::mounts},
    {"--log-level", "REWIND_LOG_LEVEL", "LEVEL", kDefaultLogLevel,
     "what is logged: debug, info, warning or error", &ServeSettings::log_level},
};

}  // namespace rw
