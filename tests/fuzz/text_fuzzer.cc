// Goal: every text that people write is understood or refused, and what was understood is written
// and read again as the same. Method: the first line says what the text is.
#include "metadata/quantity.h"
#include "metadata/retention.h"
#include "metadata/time_text.h"
#include "plugin/options.h"
#include "tests/fuzz/fuzz.h"

namespace rw::fuzz {
namespace {

constexpr uint64_t kSecond = 1'000'000'000, kDay = 86'400 * kSecond;
constexpr Instant kNow{1'795'368'660 * kSecond};
constexpr uint64_t kYear2262 = 292ULL * 365 * kDay;

// `key=value` lines.
std::map<std::string, std::string> Settings(const std::vector<std::string>& lines, size_t from) {
  std::map<std::string, std::string> settings;
  for (size_t i = from; i < lines.size(); ++i) {
    const size_t equals = std::min(lines[i].find('='), lines[i].size());
    settings[lines[i].substr(0, equals)] = lines[i].substr(std::min(equals + 1, lines[i].size()));
  }
  return settings;
}

void RunTime(const std::string& text) {
  const Instant read = ParseTime(text, kNow);
  if (read.ns >= kYear2262) return;
  Expect(ParseTime(FormatInstant(read), kNow) == read, "a time is written as it is read");
}

void RunRetention(const std::map<std::string, std::string>& settings) {
  const RetentionPolicy policy = RetentionPolicy::Parse(settings);
  Expect(RetentionPolicy::Parse(policy.ToText()) == policy, "a policy is written as it is read");
  Expect(RetentionPolicy::InForce(settings) == policy, "what is accepted is in force");
  Instant last{0};
  for (const Instant point : policy.Points(Instant{kNow.ns - 40 * kDay}, kNow, kNow)) {
    Expect(last < point && point < kNow, "points are sorted, and past");
    Expect(policy.Wants(point, kNow), "what is given out is wanted");
    last = point;
  }
}

void Run(const std::vector<std::string>& lines) {
  if (lines.size() < 2) return;
  const std::string& kind = lines[0];
  if (kind == "time") RunTime(lines[1]);
  if (kind == "duration") {
    const uint64_t ns = ParseDuration("x", lines[1]);
    Expect(ParseDuration("x", FormatDuration(ns)) == ns, "a duration is written as it is read");
  }
  if (kind == "bytes") {
    const uint64_t bytes = ParseByteCount("x", lines[1]);
    Expect(ParseByteCount("x", FormatByteCount(bytes)) == bytes,
           "a count is written as it is read");
  }
  if (kind == "retention") RunRetention(Settings(lines, 1));
  if (kind == "options") {
    const CreateRequest request = ParseVolumeOptions(
        lines[1], Settings(lines, 2),
        [](const std::string&, std::string_view time) { return ParseTime(time, kNow); });
    Expect(request.name == lines[1], "the name is as given");
    Expect(request.name.find('/') == std::string::npos, "no name is a path");
    Expect(request.name != ".." && request.name != ".", "no name is a directory");
  }
}

}  // namespace
}  // namespace rw::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  rw::fuzz::AllowRefusal([&] { rw::fuzz::Run(rw::fuzz::Lines(rw::fuzz::View(data, size))); });
  return 0;
}
