#include "plugin/watch_commands.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>
#include <thread>
#include <vector>

#include "metadata/refused.h"
#include "plugin/client.h"
#include "plugin/facts.h"
#include "plugin/health.h"
#include "plugin/printing.h"

namespace rw {
namespace {

using Json = nlohmann::json;

constexpr int kHealthTimeoutSeconds = 10;

// What happened between two answers. A daemon that began again meanwhile begins its sums anew.
class Rates {
 public:
  Rates(const Json& before, const Json& after)
      : seconds_(std::max(
            1e-9, (after.at("Nanoseconds").get<double>() - before.at("Nanoseconds").get<double>()) /
                      1e9)) {
    for (const Json& volume : after.at("Volumes")) {
      Json earlier = volume;
      for (const Json& other : before.at("Volumes")) {
        if (other.at("name") == volume.at("name")) earlier = other;
      }
      list_.push_back(Of(earlier, volume));
    }
  }
  const Json& list() const { return list_; }

 private:
  static uint64_t Grown(const Json& before, const Json& after) {
    const uint64_t from = before, to = after;
    return to >= from ? to - from : to;
  }

  Json Of(const Json& before, const Json& after) const {
    Json rates = {{"name", after.at("name")},
                  {"history_bytes", after.at("history_bytes")},
                  {"history_from", after.at("history_from")},
                  {"pressure", after.at("pressure")}};
    for (const char* kind : {"reads", "writes", "fsyncs", "others"}) {
      const uint64_t count = Grown(before.at(kind).at("count"), after.at(kind).at("count"));
      const uint64_t ns =
          Grown(before.at(kind).at("nanoseconds"), after.at(kind).at("nanoseconds"));
      const std::string name = kind;
      rates[name + "_per_second"] = static_cast<double>(count) / seconds_;
      rates[name + "_seconds"] =
          count == 0 ? Json() : Json(static_cast<double>(ns) / 1e9 / static_cast<double>(count));
    }
    for (const char* kind : {"read_bytes", "written_bytes"}) {
      rates[std::string(kind) + "_per_second"] =
          static_cast<double>(Grown(before.at(kind), after.at(kind))) / seconds_;
    }
    return rates;
  }

  const double seconds_;
  Json list_ = Json::array();
};

std::string Number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, value < 10 && value > 0 ? "%.1f" : "%.0f", value);
  return text;
}

// The mean of what requests took.
std::string Took(const Json& seconds) {
  if (seconds.is_null()) return "-";
  const double us = seconds.get<double>() * 1e6;
  char text[32];
  if (us < 1000) {
    std::snprintf(text, sizeof text, "%.0f us", us);
  } else if (us < 1e6) {
    std::snprintf(text, sizeof text, "%.1f ms", us / 1e3);
  } else {
    std::snprintf(text, sizeof text, "%.1f s", us / 1e6);
  }
  return text;
}

void PrintRates(Json list) {
  std::stable_sort(list.begin(), list.end(), [](const Json& a, const Json& b) {
    return a.at("written_bytes_per_second") > b.at("written_bytes_per_second");
  });
  std::vector<std::vector<std::string>> rows = {{"NAME", "WRITES/S", "WRITTEN/S", "TAKES",
                                                 "FSYNCS/S", "TAKES", "READS/S", "READ/S",
                                                 "HISTORY", "SINCE"}};
  for (const Json& volume : list) {
    const auto bytes = [&volume](const char* key) {
      return HumanBytes(static_cast<uint64_t>(volume.at(key).get<double>()));
    };
    rows.push_back({ToText(volume.at("name")), Number(volume.at("writes_per_second")),
                    bytes("written_bytes_per_second"), Took(volume.at("writes_seconds")),
                    Number(volume.at("fsyncs_per_second")), Took(volume.at("fsyncs_seconds")),
                    Number(volume.at("reads_per_second")), bytes("read_bytes_per_second"),
                    HumanBytes(volume.at("history_bytes")), ToText(volume.at("history_from"))});
  }
  PrintTable(rows);
}

}  // namespace

int HealthCommand(const std::filesystem::path& socket, bool json) {
  Json health;
  try {
    health = Ask(socket, "Rewind.Health", Json::object(), kHealthTimeoutSeconds).at("Health");
  } catch (const std::exception& error) {
    std::cerr << "rewind: " << error.what() << std::endl;
    return kHealthUnknown;
  }
  if (json) {
    PrintJson(health);
  } else {
    std::cout << health.at("status").get<std::string>() << '\n';
    std::vector<std::vector<std::string>> rows;
    for (const Json& problem : health.at("problems")) {
      rows.push_back({ToText(problem.at("kind")), problem.value("volume", std::string("-")),
                      ToText(problem.at("what"))});
    }
    PrintTable(rows);
  }
  return health.at("status") == "ok" ? kHealthy : kUnhealthy;
}

void TopCommand(const std::filesystem::path& socket, const TopRequest& request, bool json) {
  if (!(request.interval_seconds >= 0.1 && request.interval_seconds <= 3600))
    throw Refused(EINVAL, "the interval is 0.1 to 3600 seconds");
  const bool once = request.once || json || isatty(STDOUT_FILENO) == 0;
  Json before = Ask(socket, "Rewind.Counts", Json::object());
  for (;;) {
    std::this_thread::sleep_for(std::chrono::duration<double>(request.interval_seconds));
    Json after = Ask(socket, "Rewind.Counts", Json::object());
    const Rates rates(before, after);
    if (json) {
      PrintJson(rates.list());
    } else {
      if (!once) std::cout << "\033[H\033[J";
      PrintRates(rates.list());
    }
    std::cout << std::flush;
    if (once) return;
    before = std::move(after);
  }
}

void LogLevelCommand(const std::filesystem::path& socket, const std::string& level, bool json) {
  Json body = Json::object();
  if (!level.empty()) body["Level"] = level;
  const std::string now = Ask(socket, "Rewind.LogLevel", body).at("Level");
  if (json) {
    std::cout << Json{{"level", now}}.dump() << '\n';
  } else {
    std::cout << now << '\n';
  }
}

}  // namespace rw
