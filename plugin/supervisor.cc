#include "plugin/supervisor.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "metadata/refused.h"
#include "plugin/channel.h"
#include "plugin/mount_info.h"
#include "plugin/unix_socket.h"

namespace rw {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using Clock = std::chrono::steady_clock;

// The engine waits ten seconds for a plugin to end.
constexpr seconds kStopPatience{9};
// A daemon that ends before this fails. The third in a row has to wait.
constexpr seconds kSoundLife{1};
constexpr int kFreeFailures = 2;
constexpr milliseconds kFirstDelay{100}, kLongestDelay{5000};
// Disks may be slow, and a daemon that waits for one is not hung.
constexpr int kDefaultBeatPatience = 60;
constexpr char kBeatPatienceVariable[] = "REWIND_WATCHDOG_SECONDS";
constexpr seconds kAbortPatience{5};
constexpr int kChannelBytes = 1 << 22;  // one message is far smaller
constexpr char kOwnProgram[] = "/proc/self/exe";

std::string Describe(int status) {
  if (WIFSIGNALED(status)) {
    const char* name = sigabbrev_np(WTERMSIG(status));
    return "killed by SIG" + std::string(name != nullptr ? name : "?") +
           (WCOREDUMP(status) ? ", core dumped" : "");
  }
  return "exit code " + std::to_string(WEXITSTATUS(status));
}

sigset_t Signals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGCHLD}) sigaddset(&signals, signal);
  return signals;
}

int MakeMemory(const std::string& text) {
  const int fd = memfd_create("rewind-inheritance", 0);
  if (fd < 0 || write(fd, text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    throw Refused(errno, std::string("cannot start the daemon: ") + std::strerror(errno));
  }
  return fd;
}

seconds BeatPatience() {
  const char* given = std::getenv(kBeatPatienceVariable);
  const int number = given == nullptr ? 0 : std::atoi(given);
  return seconds(number > 0 ? number : kDefaultBeatPatience);
}

class Supervisor {
 public:
  explicit Supervisor(const ServeSettings& settings)
      : settings_(settings), listening_(ListenOn(settings.socket)) {
    const sigset_t signals = Signals();
    signal(SIGCHLD, SIG_DFL);  // ignored ones do not come
    sigprocmask(SIG_BLOCK, &signals, nullptr);
    signals_ = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    // Two descriptors for each mount, here and in the daemon.
    rlimit limit{};
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    std::error_code ignored;
    own_path_ = std::filesystem::read_symlink(kOwnProgram, ignored);
  }
  Supervisor(const Supervisor&) = delete;
  Supervisor& operator=(const Supervisor&) = delete;
  ~Supervisor() {
    if (!stopping_) RemoveSocket();  // else it is removed, and may be another's by now
    close(listening_);
    close(signals_);
    for (auto& [key, entry] : kept_) CloseAll(&entry);
  }

  int Run() {
    StartDaemon();
    while (!exit_code_) {
      pollfd waiting[] = {{signals_, POLLIN, 0}, {channel_, POLLIN, 0}};
      poll(waiting, 2, MillisecondsToWait());
      // What the daemon sent before it ended comes first, and so does its being told to end.
      ReceiveAll();
      HandleSignals();
      HandleTime();
    }
    return *exit_code_;
  }

 private:
  static void CloseAll(KeptEntry* entry) {
    for (const int descriptor : entry->descriptors) close(descriptor);
    entry->descriptors.clear();
  }

  void RemoveSocket() {
    std::error_code ignored;
    std::filesystem::remove(settings_.socket, ignored);
  }

  std::vector<std::string> Arguments() const {
    std::vector<std::string> arguments = {own_path_, "serve"};
    for (const Setting& setting : kSettings) {
      arguments.emplace_back(setting.flag);
      arguments.push_back(settings_.*setting.value);
    }
    return arguments;
  }

  void StartDaemon() {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
      throw Refused(errno, std::string("cannot start the daemon: ") + std::strerror(errno));
    setsockopt(pair[1], SOL_SOCKET, SO_SNDBUFFORCE, &kChannelBytes, sizeof(kChannelBytes));
    Inheritance inheritance{pair[1], listening_, getpid(), {}};
    inheritance.entries.reserve(kept_.size());
    for (const auto& [key, entry] : kept_) inheritance.entries.push_back(entry);
    const int memory = MakeMemory(EncodeInheritance(inheritance));
    std::vector<std::string> arguments = Arguments();
    std::vector<char*> argv;
    argv.reserve(arguments.size() + 1);
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    setenv(kInheritanceVariable, std::to_string(memory).c_str(), 1);
    daemon_ = fork();
    if (daemon_ == 0) {
      LetPass(inheritance);
      // To be told to end is for the daemon's own descriptor, from its first moment on.
      sigset_t signals;
      sigemptyset(&signals);
      sigaddset(&signals, SIGHUP);
      sigaddset(&signals, SIGCHLD);
      sigprocmask(SIG_UNBLOCK, &signals, nullptr);
      execv(program_.c_str(), argv.data());
      _exit(kCannotExecute);
    }
    unsetenv(kInheritanceVariable);
    close(memory);
    close(pair[1]);
    channel_ = pair[0];
    started_ = last_beat_ = Clock::now();
    ready_at_.reset();
    if (daemon_ < 0) {
      spdlog::error("cannot start the daemon: {}", std::strerror(errno));
      DaemonEnded(kCannotExecute << 8);
    }
  }

  int MillisecondsToWait() const {
    std::optional<Clock::time_point> next = start_at_;
    const auto consider = [&](Clock::time_point at) { next = std::min(next.value_or(at), at); };
    if (kill_at_) consider(*kill_at_);
    if (daemon_ > 0 && !kill_at_) consider(last_beat_ + beat_patience_);
    if (!next) return -1;
    const auto left = std::chrono::ceil<milliseconds>(*next - Clock::now());
    return static_cast<int>(std::max<int64_t>(0, left.count()));
  }

  void ReceiveAll() {
    if (channel_ < 0) return;
    while (auto message = ReceiveMessage(channel_)) {
      last_beat_ = Clock::now();
      switch (message->kind) {
        case ChannelMessage::Kind::kPut:
          Put(std::move(message->entry));
          break;
        case ChannelMessage::Kind::kDrop:
          Drop(message->entry.key);
          break;
        case ChannelMessage::Kind::kReady:
          ready_at_ = Clock::now();
          was_ready_ = true;
          if (ended_at_) {
            spdlog::info("the daemon is back after {} ms",
                         std::chrono::duration_cast<milliseconds>(*ready_at_ - *ended_at_).count());
            ended_at_.reset();
          }
          break;
        case ChannelMessage::Kind::kBeat:
          break;
      }
    }
  }

  void Put(KeptEntry entry) {
    KeptEntry& kept = kept_[entry.key];
    if (entry.descriptors.empty()) {
      entry.descriptors = std::move(kept.descriptors);
    } else {
      CloseAll(&kept);
    }
    kept = std::move(entry);
  }

  void Drop(const std::string& key) {
    const std::string prefix = key + kKeyOfView;
    for (auto entry = kept_.lower_bound(key); entry != kept_.end();) {
      if (entry->first != key && !entry->first.starts_with(key)) break;
      if (entry->first == key || entry->first.starts_with(prefix)) {
        CloseAll(&entry->second);
        entry = kept_.erase(entry);
      } else {
        ++entry;
      }
    }
  }

  void HandleSignals() {
    signalfd_siginfo info{};
    while (read(signals_, &info, sizeof(info)) == sizeof(info)) {
      if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT) Stop();
      if (info.ssi_signo == SIGHUP) Replace();
    }
    int status = 0;
    pid_t ended = 0;
    // As the first process of a container, all orphans in it are this one's to reap.
    while ((ended = waitpid(-1, &status, WNOHANG)) > 0) {
      if (ended == daemon_) DaemonEnded(status);
    }
  }

  void Stop() {
    if (stopping_) return;
    stopping_ = true;
    RemoveSocket();
    start_at_.reset();
    if (daemon_ <= 0) {
      DetachAll();
      exit_code_ = EXIT_SUCCESS;
      return;
    }
    kill(daemon_, SIGTERM);
    kill_at_ = Clock::now() + kStopPatience;
  }

  void Replace() {
    if (stopping_ || own_path_.empty()) return;
    spdlog::info("replacing the daemon by {}", own_path_);
    program_ = own_path_;
    replacing_ = true;
    if (daemon_ > 0) {
      kill(daemon_, SIGKILL);
    } else {
      start_at_ = Clock::now();
    }
  }

  void DaemonEnded(int status) {
    const auto now = Clock::now();
    ReceiveAll();
    close(channel_);
    channel_ = -1;
    daemon_ = -1;
    kill_at_.reset();
    if (!ended_at_) ended_at_ = now;
    const bool in_order = WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SUCCESS;
    if (stopping_) {
      if (!in_order) {
        spdlog::warn("the daemon did not end in order: {}; what was acknowledged is safe",
                     Describe(status));
      }
      DetachAll();  // also what it had not yet gone on with
      exit_code_ = WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILURE;
      return;
    }
    if (in_order) {  // somebody has told it to end; its socket takes no connections any more
      DetachAll();
      exit_code_ = EXIT_SUCCESS;
      return;
    }
    if (replacing_) {
      replacing_ = false;
      start_at_ = now;
      return;
    }
    if (!ready_at_ && program_ != kOwnProgram) {
      spdlog::error("the new program did not start ({}); going back to the one before",
                    Describe(status));
      program_ = kOwnProgram;
      start_at_ = now;
      return;
    }
    // It has said why.
    if (!was_ready_ && WIFEXITED(status)) {
      exit_code_ = WEXITSTATUS(status);
      return;
    }
    const bool failing = !ready_at_ || now - *ready_at_ < kSoundLife;
    failures_ = failing ? failures_ + 1 : 0;
    delay_ = failures_ <= kFreeFailures ? milliseconds(0)
                                        : std::clamp(delay_ * 2, kFirstDelay, kLongestDelay);
    start_at_ = now + delay_;
    spdlog::error(
        "the daemon ended: {}, after {} ms; {} mounts wait for the next, which starts {}",
        Describe(status), std::chrono::duration_cast<milliseconds>(now - started_).count(),
        Mounts(),
        delay_.count() == 0 ? std::string("now") : "in " + std::to_string(delay_.count()) + " ms");
  }

  size_t Mounts() const {
    return static_cast<size_t>(std::count_if(kept_.begin(), kept_.end(), [](const auto& entry) {
      return !entry.second.descriptors.empty();
    }));
  }

  void HandleTime() {
    const auto now = Clock::now();
    if (start_at_ && now >= *start_at_) {
      start_at_.reset();
      try {
        StartDaemon();
      } catch (const Refused& refused) {
        spdlog::error("{}", refused.what());
        start_at_ = now + kLongestDelay;
      }
    }
    if (daemon_ <= 0) return;
    if (kill_at_ && now >= *kill_at_) {
      spdlog::error("the daemon does not end; killing it");
      kill(daemon_, SIGKILL);
      if (stopping_) DetachAll();  // while there is time
      kill_at_ = now + kAbortPatience;
    } else if (!kill_at_ && now - last_beat_ >= beat_patience_) {
      spdlog::error("the daemon has not answered for {} s; ending it", beat_patience_.count());
      kill(daemon_, SIGABRT);
      kill_at_ = now + kAbortPatience;
    }
  }

  // What a daemon that did not end in order has left: nobody will serve it.
  void DetachAll() {
    for (auto& [key, entry] : kept_) CloseAll(&entry);
    std::error_code error;
    const auto mounts = std::filesystem::canonical(settings_.mounts, error);
    if (!error) DetachBelow(mounts, {});
  }

  static constexpr int kCannotExecute = 127;

  const ServeSettings settings_;
  const int listening_;
  int signals_ = -1;
  std::string own_path_;               // where a newer program is found
  std::string program_ = kOwnProgram;  // what the daemon is started from
  const seconds beat_patience_ = BeatPatience();
  std::map<std::string, KeptEntry> kept_;

  pid_t daemon_ = -1;
  int channel_ = -1;
  bool was_ready_ = false;  // any daemon
  bool stopping_ = false;
  bool replacing_ = false;
  std::optional<int> exit_code_;
  int failures_ = 0;  // in a row
  milliseconds delay_{0};
  Clock::time_point started_, last_beat_;
  std::optional<Clock::time_point> ready_at_;  // this daemon
  std::optional<Clock::time_point> ended_at_;  // the last one, until one is ready
  std::optional<Clock::time_point> start_at_;  // the next one
  std::optional<Clock::time_point> kill_at_;
};

}  // namespace

int Supervise(const ServeSettings& settings) {
  Supervisor supervisor(settings);
  return supervisor.Run();
}

}  // namespace rw
