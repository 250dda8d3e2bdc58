#include "plugin/log.h"

#include <spdlog/formatter.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <cerrno>
#include <ctime>
#include <memory>
#include <nlohmann/json.hpp>

#include "metadata/quoted.h"
#include "metadata/refused.h"
#include "metadata/time_text.h"

namespace rw {
namespace {

spdlog::level::level_enum ParseLevel(const std::string& level) {
  if (level != "debug" && level != "info" && level != "warning" && level != "error") {
    throw Refused(EINVAL, "log level " + Quoted(level) +
                              " refused: it must be debug, info, warning or error");
  }
  return spdlog::level::from_str(level);
}

// Whatever a message says, a line is one JSON object.
class JsonFormatter : public spdlog::formatter {
 public:
  void format(const spdlog::details::log_msg& message, spdlog::memory_buf_t& out) override {
    const auto since_epoch = message.time.time_since_epoch();
    const auto ns = std::chrono::duration_cast<std::chrono::nanoseconds>(since_epoch).count();
    const nlohmann::ordered_json line = {
        {"time", FormatInstant(Instant{static_cast<uint64_t>(ns)})},
        {"level", Name(message.level)},
        {"message", std::string(message.payload.data(), message.payload.size())}};
    const std::string text =
        line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
    out.append(text.data(), text.data() + text.size());
  }
  std::unique_ptr<spdlog::formatter> clone() const override {
    return std::make_unique<JsonFormatter>();
  }

 private:
  static std::string Name(spdlog::level::level_enum level) {
    const auto name = spdlog::level::to_string_view(level);
    return {name.data(), name.size()};
  }
};

}  // namespace

void SetUpLog(const std::string& level, const std::string& format) {
  const auto parsed = ParseLevel(level);
  if (format != "text" && format != "json") {
    throw Refused(EINVAL, "log format " + Quoted(format) + " refused: it must be text or json");
  }
  auto logger = spdlog::stderr_logger_mt("rewind");
  if (format == "json") {
    logger->set_formatter(std::make_unique<JsonFormatter>());
  } else {
    logger->set_pattern("%Y-%m-%dT%H:%M:%S.%eZ %l %v", spdlog::pattern_time_type::utc);
  }
  logger->set_level(parsed);
  logger->flush_on(spdlog::level::info);
  spdlog::set_default_logger(logger);
}

void SetLogLevel(const std::string& level) {
  const auto parsed = ParseLevel(level);
  spdlog::default_logger()->set_level(parsed);
  spdlog::default_logger()->flush_on(std::min(parsed, spdlog::level::info));
}

std::string LogLevel() {
  const auto name = spdlog::level::to_string_view(spdlog::default_logger()->level());
  return {name.data(), name.size()};
}

}  // namespace rw
