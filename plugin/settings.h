// The daemon's settings: one table that drives the command line and the test of the README.
#pragma once

#include <string>

#include "fs/store.h"

namespace rw {

inline constexpr char kDefaultRoot[] = "/var/lib/rewind";
inline constexpr char kDefaultSocket[] = "/run/docker/plugins/rewind.sock";
inline constexpr char kDefaultMounts[] = "/run/rewind/mounts";
inline constexpr char kDefaultLogLevel[] = "info";
inline constexpr char kDefaultRetention[] = "24h";
inline constexpr char kDefaultKeep[] = "hourly:7d,daily:60d";
inline constexpr char kDefaultHistoryLimit[] = "none";
inline constexpr char kDefaultTrash[] = "24h";
inline constexpr char kDefaultReserve[] = "auto";
inline constexpr char kDefaultCollectRate[] = "64M";
inline constexpr char kDefaultMetricsAddress[] = "none";
inline constexpr char kDefaultLogFormat[] = "text";

struct ServeSettings {
  std::string root = kDefaultRoot;
  std::string socket = kDefaultSocket;
  std::string mounts = kDefaultMounts;
  std::string log_level = kDefaultLogLevel;
  std::string retention = kDefaultRetention;
  std::string keep = kDefaultKeep;
  std::string history_limit = kDefaultHistoryLimit;
  std::string trash = kDefaultTrash;
  std::string reserve = kDefaultReserve;
  std::string collect_rate = kDefaultCollectRate;
  std::string metrics_address = kDefaultMetricsAddress;
  std::string log_format = kDefaultLogFormat;
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
    {"--retention", "REWIND_RETENTION", "DURATION", kDefaultRetention,
     "option retention of volumes that have none of their own", &ServeSettings::retention},
    {"--keep", "REWIND_KEEP", "SCHEDULE", kDefaultKeep,
     "option keep of volumes that have none of their own", &ServeSettings::keep},
    {"--history-limit", "REWIND_HISTORY_LIMIT", "BYTES", kDefaultHistoryLimit,
     "option history-limit of volumes that have none of their own", &ServeSettings::history_limit},
    {"--trash", "REWIND_TRASH", "DURATION", kDefaultTrash,
     "option trash of volumes that have none of their own", &ServeSettings::trash},
    {"--reserve", "REWIND_RESERVE", "BYTES", kDefaultReserve,
     "when the disk has less than this free, history goes before its time; auto: a twentieth of "
     "the disk, at most 4G; 0: never",
     &ServeSettings::reserve},
    {"--collect-rate", "REWIND_COLLECT_RATE", "BYTES", kDefaultCollectRate,
     "bytes per second that may be copied to free space, four times as many while more comes than "
     "goes",
     &ServeSettings::collect_rate},
    {"--metrics-address", "REWIND_METRICS_ADDRESS", "ADDRESS", kDefaultMetricsAddress,
     "where figures and health can be asked for by TCP, such as 127.0.0.1:9876; loopback only",
     &ServeSettings::metrics_address},
    {"--log-format", "REWIND_LOG_FORMAT", "FORMAT", kDefaultLogFormat,
     "how it is logged: text, or json, one object a line", &ServeSettings::log_format},
};

// What the settings ask of the store. Throws Refused(EINVAL) for a value that means nothing.
StoreOptions StoreOptionsOf(const ServeSettings& settings);

}  // namespace rw
