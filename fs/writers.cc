#include "fs/writers.h"

#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include <charconv>
#include <optional>

namespace rw {
namespace {

constexpr uint64_t kSecond = 1'000'000'000;
constexpr size_t kMaxKnown = 4096;
constexpr size_t kContainerIdDigits = 64;

uint64_t NanosecondsOf(clockid_t clock) {
  timespec time{};
  clock_gettime(clock, &time);
  return static_cast<uint64_t>(time.tv_sec) * kSecond + static_cast<uint64_t>(time.tv_nsec);
}

// The file's beginning; nothing if the process is gone. Cheaper than a stream.
std::optional<std::string> ReadProc(uint32_t pid, const char* file) {
  const std::string path = "/proc/" + std::to_string(pid) + "/" + file;
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return std::nullopt;
  std::string text(4096, '\0');
  const ssize_t got = read(fd, text.data(), text.size());
  close(fd);
  if (got < 0) return std::nullopt;
  text.resize(static_cast<size_t>(got));
  return text;
}

template <typename Number>
Number ToNumber(std::string_view text) {
  Number number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

// When it was started, in ticks since the machine was; nothing if the process is gone.
std::optional<uint64_t> StartedTicks(uint32_t pid) {
  const auto stat = ReadProc(pid, "stat");
  if (!stat) return std::nullopt;
  // The name in the second field may hold anything; from its end on, the 20th is meant.
  size_t at = stat->rfind(')');
  for (int field = 0; field < 20 && at != stat->npos; ++field) at = stat->find(' ', at + 1);
  if (at == stat->npos) return std::nullopt;
  return ToNumber<uint64_t>(
      std::string_view(*stat).substr(at + 1, stat->find(' ', at + 1) - at - 1));
}

uint64_t ToSecondsSinceEpoch(uint64_t ticks) {
  static const auto kTicksPerSecond = static_cast<uint64_t>(sysconf(_SC_CLK_TCK));
  // Once, so that a process does not seem another one when the clock is set.
  static const uint64_t booted = NanosecondsOf(CLOCK_REALTIME) - NanosecondsOf(CLOCK_BOOTTIME);
  return (booted + ticks * (kSecond / kTicksPerSecond)) / kSecond;
}

std::shared_ptr<const Writer> Describe(uint32_t thread) {
  const auto started_ticks = StartedTicks(thread);
  const auto status = ReadProc(thread, "status");
  if (!started_ticks || !status) return nullptr;
  auto writer = std::make_shared<Writer>();
  writer->thread = writer->process = thread;
  constexpr std::string_view kProcess = "\nTgid:\t";
  if (const size_t at = status->find(kProcess); at != status->npos)
    writer->process = ToNumber<uint32_t>(std::string_view(*status).substr(at + kProcess.size()));
  writer->started_seconds = ToSecondsSinceEpoch(*started_ticks);
  writer->command = ReadProc(writer->process, "comm").value_or("");
  if (!writer->command.empty()) writer->command.pop_back();  // the line's end
  writer->container = ContainerInCgroup(ReadProc(thread, "cgroup").value_or(""));
  return writer;
}

}  // namespace

std::shared_ptr<const Writer> Writers::Find(uint32_t thread) {
  if (thread == 0) return nullptr;
  const uint64_t now = NanosecondsOf(CLOCK_MONOTONIC);
  Known known;
  {
    const std::lock_guard lock(mutex_);
    if (const auto found = known_.find(thread); found != known_.end()) known = found->second;
  }
  if (known.writer != nullptr && now - known.looked_at_ns < kSecond) return known.writer;
  auto writer = Describe(thread);
  if (writer == nullptr) return known.writer;  // gone meanwhile: what it asked for is under way
  known.looked_at_ns = now;
  if (known.writer == nullptr || *known.writer != *writer) known.writer = std::move(writer);
  const std::lock_guard lock(mutex_);
  if (known_.size() >= kMaxKnown) known_.clear();
  known_[thread] = known;
  return known.writer;
}

std::string ContainerInCgroup(const std::string& text) {
  std::string container;
  const auto is_digit = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); };
  for (size_t from = 0; from < text.size();) {
    size_t to = from;
    while (to < text.size() && is_digit(text[to])) ++to;
    if (to - from == kContainerIdDigits) container = text.substr(from, to - from);
    from = to + 1;
  }
  return container;
}

}  // namespace rw
