#include "plugin/supervisor.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
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
#include "plugin/patience.h"
#include "plugin/supervision.h"
#include "plugin/unix_socket.h"

namespace rw {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using Clock = std::chrono::steady_clock;

// The engine waits ten seconds for a plugin to end.
constexpr seconds kStopPatience{9};
// A daemon that ends before this fails. The sixth in a row has to wait.
constexpr seconds kSoundLife{1};
constexpr int kFreeFailures = 5;
constexpr milliseconds kFirstDelay{100}, kLongestDelay{5000};
// Disks may be slow, and a daemon that waits for one is not hung.
constexpr int kDefaultBeatPatience = 60;
constexpr char kBeatPatienceVariable[] = "REWIND_WATCHDOG_SECONDS";
constexpr seconds kAbortPatience{5};
// Of its silence, as much counts as the supervisor was there to hear: the machine may have slept.
constexpr seconds kListening{1};
constexpr int kChannelBytes = 1 << 22;  // one message is far smaller
constexpr char kOwnProgram[] = "/proc/self/exe";
// Of a program that is to take over, to say that it can.
constexpr seconds kCheckPatience{20};

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

seconds BeatPatience() {
  const char* given = std::getenv(kBeatPatienceVariable);
  const int number = given == nullptr ? 0 : std::atoi(given);
  return seconds(number > 0 ? number : kDefaultBeatPatience);
}

uint64_t DaemonsBefore() {
  const char* const number = std::getenv(kDaemonNumberVariable);
  return number == nullptr ? 0 : std::strtoull(number, nullptr, 10);
}

class Supervisor {
 public:
  explicit Supervisor(const ServeSettings& settings)
      // One that was killed listens for as long as its daemon has not ended.
      : Supervisor(settings, WithPatience(EADDRINUSE, kPredecessorPatience,
                                          [&] { return ListenOn(settings.socket); })) {
    std::error_code ignored;
    own_path_ = std::filesystem::read_symlink(kOwnProgram, ignored);
    StartDaemon();
  }
  // Goes on where the program that was in this process before has ended.
  Supervisor(const ServeSettings& settings, Supervision before)
      : Supervisor(settings, before.state.listening) {
    own_path_ = std::move(before.program);
    daemon_ = before.daemon;
    channel_ = before.state.channel;
    for (KeptEntry& entry : before.state.entries) kept_[entry.key] = std::move(entry);
    was_ready_ = true;
    started_ = heard_at_ = Clock::now();
    ready_at_ = started_;
    spdlog::info("rewind {} supervises the daemon from now on", REWIND_VERSION);
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
    while (!exit_code_) {
      pollfd waiting[] = {{signals_, POLLIN, 0}, {channel_ended_ ? -1 : channel_, POLLIN, 0}};
      poll(waiting, 2, MillisecondsToWait());
      // What the daemon sent before it ended comes first, and so does its being told to end.
      ReceiveAll();
      // Nothing more comes, and its being over would wake us until the process has ended.
      if ((waiting[1].revents & POLLHUP) != 0) channel_ended_ = true;
      HandleSignals();
      HandleTime();
      if (upgrading_ == Upgrading::kItself && ready_at_) GiveOver();
    }
    return *exit_code_;
  }

 private:
  // Where an upgrade is. Until the new program has said that it can take over, and the daemon that
  // it is then is ready, there is a way back.
  enum class Upgrading { kNot, kChecking, kItself };

  Supervisor(const ServeSettings& settings, int listening)
      : settings_(settings), listening_(listening) {
    const sigset_t signals = Signals();
    signal(SIGCHLD, SIG_DFL);  // ignored ones do not come
    sigprocmask(SIG_BLOCK, &signals, nullptr);
    signals_ = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    // Two descriptors for each mount, here and in the daemon.
    rlimit limit{};
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
  }

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

  Inheritance StateWith(int channel) const {
    Inheritance inheritance{channel, listening_, getpid(), {}};
    inheritance.entries.reserve(kept_.size());
    for (const auto& [key, entry] : kept_) inheritance.entries.push_back(entry);
    return inheritance;
  }

  void StartDaemon() {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
      throw Refused(errno, std::string("cannot start the daemon: ") + std::strerror(errno));
    setsockopt(pair[1], SOL_SOCKET, SO_SNDBUFFORCE, &kChannelBytes, sizeof(kChannelBytes));
    const Inheritance inheritance = StateWith(pair[1]);
    int memory = -1;
    try {
      memory = MakeMemory(EncodeInheritance(inheritance));
    } catch (...) {
      close(pair[0]);
      close(pair[1]);
      throw;
    }
    setenv(kDaemonNumberVariable, std::to_string(++daemons_).c_str(), 1);
    daemon_ = fork();
    if (daemon_ == 0) {
      LetPass(inheritance);
      // To be told to end is for the daemon's own descriptor, from its first moment on.
      sigset_t signals;
      sigemptyset(&signals);
      sigaddset(&signals, SIGHUP);
      sigaddset(&signals, SIGCHLD);
      sigprocmask(SIG_UNBLOCK, &signals, nullptr);
      Execute(program_.c_str(), Arguments(), kInheritanceVariable, memory);
      std::fprintf(stderr, "rewind: cannot execute %s: %s\n", program_.c_str(),
                   std::strerror(errno));
      _exit(kCannotExecute);
    }
    close(memory);
    close(pair[1]);
    channel_ = pair[0];
    channel_ended_ = false;
    started_ = heard_at_ = Clock::now();
    silence_ = {};
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
    if (check_ > 0) consider(check_until_);
    if (daemon_ > 0 && !kill_at_) consider(heard_at_ + kListening);
    if (!next) return -1;
    const auto left = std::chrono::ceil<milliseconds>(*next - Clock::now());
    return static_cast<int>(std::max<int64_t>(0, left.count()));
  }

  void ReceiveAll() {
    if (channel_ < 0) return;
    while (auto message = ReceiveMessage(channel_)) {
      silence_ = {};
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
        case ChannelMessage::Kind::kUpgrade:
          Upgrade();
          break;
        case ChannelMessage::Kind::kBeat:
        case ChannelMessage::Kind::kRefused:
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
      if (info.ssi_signo == SIGHUP) Upgrade();
    }
    int status = 0;
    pid_t ended = 0;
    // As the first process of a container, all orphans in it are this one's to reap.
    while ((ended = waitpid(-1, &status, WNOHANG)) > 0) {
      if (ended == daemon_) DaemonEnded(status);
      if (ended == check_) CheckEnded(status);
    }
  }

  void Stop() {
    if (stopping_) return;
    stopping_ = true;
    RemoveSocket();
    start_at_.reset();
    if (check_ > 0) kill(check_, SIGKILL);
    if (daemon_ <= 0) {
      DetachAll();
      exit_code_ = EXIT_SUCCESS;
      return;
    }
    kill(daemon_, SIGTERM);
    kill_at_ = Clock::now() + kStopPatience;
  }

  // First the new program says whether it can go on with what there is, then it becomes the daemon,
  // and when that is ready, the supervisor, too.
  void Upgrade() {
    if (stopping_) return;
    if (upgrading_ != Upgrading::kNot) {
      RefuseUpgrade("one is under way");
      return;
    }
    kept_.erase(kKeyOfFailedUpgrade);
    try {
      check_ = StartCheck({StateWith(-1), daemon_, own_path_}, Arguments());
    } catch (const Refused& refused) {
      RefuseUpgrade(refused.what());
      return;
    }
    upgrading_ = Upgrading::kChecking;
    check_until_ = Clock::now() + kCheckPatience;
  }

  void RefuseUpgrade(const std::string& why) {
    spdlog::error("no upgrade to {}: {}", own_path_, why);
    // The daemon waits for it only if it has asked.
    if (channel_ >= 0)
      SendMessage(channel_, {ChannelMessage::Kind::kRefused, {"", why, {}}}, false);
  }

  void CheckEnded(int status) {
    check_ = -1;
    upgrading_ = Upgrading::kNot;
    if (stopping_) return;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != EXIT_SUCCESS) {
      RefuseUpgrade("the program there cannot take over (" + Describe(status) +
                    "), the log may say why; nothing has changed");
      return;
    }
    spdlog::info("replacing the daemon by {}", own_path_);
    upgrading_ = Upgrading::kItself;
    program_ = own_path_;
    replacing_ = daemon_ > 0;
    ready_at_.reset();
    if (daemon_ > 0) {
      kill(daemon_, SIGKILL);
    } else {
      start_at_ = Clock::now();
    }
  }

  // The daemon is the new program, and goes on; so does this process.
  void GiveOver() {
    upgrading_ = Upgrading::kNot;
    int error = 0;
    try {
      error = HandOver({StateWith(channel_), daemon_, own_path_}, Arguments());
    } catch (const Refused& refused) {
      error = refused.error();
    }
    spdlog::error("the supervisor stays the one before: {}", std::strerror(error));
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
      upgrading_ = Upgrading::kNot;
      kept_[kKeyOfFailedUpgrade] = {
          kKeyOfFailedUpgrade,
          "the daemon that " + own_path_ + " would be did not start (" + Describe(status) + ")",
          {}};
      start_at_ = now;
      return;
    }
    // It has said why.
    if (!was_ready_ && kept_.empty() && WIFEXITED(status)) {
      exit_code_ = WEXITSTATUS(status) == kCannotExecute ? EXIT_FAILURE : WEXITSTATUS(status);
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
    if (check_ > 0 && now >= check_until_) {
      kill(check_, SIGKILL);  // what comes of it is heard by its end
      check_until_ = now + kCheckPatience;
    }
    if (daemon_ <= 0) return;
    silence_ += std::min<Clock::duration>(now - heard_at_, 2 * kListening);
    heard_at_ = now;
    if (kill_at_ && now >= *kill_at_) {
      spdlog::error("the daemon does not end; killing it");
      kill(daemon_, SIGKILL);
      if (stopping_) DetachAll();  // while there is time
      kill_at_ = now + kAbortPatience;
    } else if (!kill_at_ && silence_ >= beat_patience_) {
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
  bool channel_ended_ = false;  // by the daemon
  bool was_ready_ = false;      // any daemon
  bool stopping_ = false;
  bool replacing_ = false;
  Upgrading upgrading_ = Upgrading::kNot;
  pid_t check_ = -1;  // the process that says whether it can take over
  Clock::time_point check_until_;
  std::optional<int> exit_code_;
  // That were started, also by programs that were in this process before.
  uint64_t daemons_ = DaemonsBefore();
  int failures_ = 0;  // in a row
  milliseconds delay_{0};
  Clock::time_point started_;
  Clock::time_point heard_at_;                 // when silence_ was counted last
  Clock::duration silence_{0};                 // since the daemon's last message
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

int Supervise(const ServeSettings& settings, Supervision before) {
  Supervisor supervisor(settings, std::move(before));
  return supervisor.Run();
}

}  // namespace rw
