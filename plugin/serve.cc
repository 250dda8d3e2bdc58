#include "plugin/serve.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <iostream>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "fs/allocator.h"
#include "fs/store.h"
#include "metadata/quoted.h"
#include "metadata/refused.h"
#include "plugin/channel.h"
#include "plugin/keeper.h"
#include "plugin/log.h"
#include "plugin/patience.h"
#include "plugin/privileges.h"
#include "plugin/server.h"
#include "plugin/server_loopback.h"
#include "plugin/supervisor.h"
#include "plugin/trusted_directory.h"
#include "plugin/volumes.h"

namespace rw {
namespace {

void CheckFuse() {
  int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
  if (fd >= 0) {
    close(fd);
    return;
  }
  int error = errno;
  throw Refused(error, std::string("cannot open /dev/fuse: ") + std::strerror(error) +
                           "; volumes need FUSE: load it with modprobe fuse and run as root");
}

// A descriptor that becomes readable when the daemon is told to end. The signals are blocked in
// this thread and in those that it starts from now on.
int EndSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  return signalfd(-1, &signals, SFD_CLOEXEC);
}

// As VolumesOptions::repeat_patience, which tests change.
std::chrono::seconds RepeatPatience() {
  const char* const given = std::getenv("REWIND_REPEAT_SECONDS");
  const int number = given == nullptr ? 0 : std::atoi(given);
  return std::chrono::seconds(number > 0 ? number : 60);
}

// Opens the store and goes on with inherited mounts on a thread of its own, so that the daemon can
// be told to end meanwhile.
class Opening {
 public:
  Opening(const ServeSettings& settings, Server& server, Keeper& keeper,
          std::vector<KeptEntry> inherited)
      : done_fd_(eventfd(0, EFD_CLOEXEC)),
        thread_([this, &settings, &server, &keeper, inherited = std::move(inherited)] {
          try {
            UseTrustedDirectory(settings.root, "the data root");
            // A daemon whose supervisor was killed ends at once, but not before the next can be
            // there.
            store_ = WithPatience(EBUSY, kPredecessorPatience,
                                  [&] { return Store::Open(StoreOptionsOf(settings)); });
            VolumesOptions volumes_options;
            volumes_options.mounts = settings.mounts;
            volumes_options.keeper = &keeper;
            volumes_options.inherited = DecodeMounts(inherited);
            volumes_options.repeat_patience = RepeatPatience();
            volumes_options.failed_upgrade = DecodeFailedUpgrade(inherited);
            volumes_options.removed = DecodeRemovals(inherited);
            // Who finds the directory busy has not touched what is inherited.
            volumes_ = WithPatience(EBUSY, kPredecessorPatience, [&] {
              return std::make_unique<Volumes>(*store_, volumes_options);
            });
            keeper.Ready();  // first: from then on, to end is no refusal to start
            server.Ready(*volumes_);
          } catch (...) {
            error_ = std::current_exception();
          }
          eventfd_write(done_fd_, 1);
        }) {}
  ~Opening() {
    if (thread_.joinable()) thread_.join();
    close(done_fd_);
  }
  Opening(const Opening&) = delete;
  Opening& operator=(const Opening&) = delete;

  int done_fd() const { return done_fd_; }

  // To be called when it is done.
  std::exception_ptr error() {
    if (thread_.joinable()) thread_.join();
    return error_;
  }
  Store& store() { return *store_; }
  Volumes& volumes() { return *volumes_; }

 private:
  std::unique_ptr<Store> store_;
  std::unique_ptr<Volumes> volumes_;
  std::exception_ptr error_;
  int done_fd_;
  std::thread thread_;
};

void WaitUntilReadable(int fd) {
  pollfd waiting{fd, POLLIN, 0};
  while (poll(&waiting, 1, -1) < 0 && errno == EINTR) {
  }
}

// True when the first is readable, false when only the second is.
bool WaitForEither(int first, int second) {
  pollfd waiting[] = {{first, POLLIN, 0}, {second, POLLIN, 0}};
  while (poll(waiting, 2, -1) < 0 && errno == EINTR) {
  }
  return waiting[0].revents != 0;
}

// Ends the process while requests wait for the store. Their connections break, and that is the
// point: the engine tries again after a broken connection, but forgets a volume's labels and
// options after an answer that refuses it. Whatever was acknowledged is safe from a sudden end at
// any time.
[[noreturn]] void EndNow(Server& server, int status) {
  server.RemoveSocket();
  spdlog::default_logger()->flush();
  std::_Exit(status);
}

}  // namespace

namespace {

// The daemon's mounts end with its supervisor, which alone could hand them on; so the daemon does,
// too.
void EndWith(int supervisor) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != supervisor) std::_Exit(EXIT_FAILURE);
}

void ServeAsDaemon(const ServeSettings& settings, const Inheritance& inheritance) {
  EndWith(inheritance.supervisor);
  LimitArenas();
  prctl(PR_SET_NAME, "rewind-daemon");
  const int end_fd = EndSignals();
  Keeper keeper(inheritance.channel);
  std::optional<Opening> opened;  // outlives those who may be asking it while this ends
  Server server(inheritance.listening);
  Heartbeat heartbeat(&keeper);
  spdlog::info("rewind {} listens on {}; opening {}", REWIND_VERSION, settings.socket,
               settings.root);
  Opening& opening = opened.emplace(settings, server, keeper, inheritance.entries);
  const LoopbackServer loopback(ParseLoopbackAddress(settings.metrics_address),
                                [&server] { return server.volumes(); });
  if (!WaitForEither(opening.done_fd(), end_fd)) {
    spdlog::info("told to end while opening {}", settings.root);
    EndNow(server, EXIT_SUCCESS);
  }
  if (const std::exception_ptr error = opening.error()) {
    try {
      std::rethrow_exception(error);
    } catch (const std::exception& refused) {
      std::cerr << "rewind: " << refused.what() << std::endl;
    }
    EndNow(server, EXIT_FAILURE);
  }
  spdlog::info("ready with {} volumes", opening.store().List().size());
  heartbeat.Probe([&opening] { opening.volumes().Probe(); });
  WaitUntilReadable(end_fd);
  spdlog::info("told to end: unmounting");
  heartbeat.Probe(nullptr);
  opening.volumes().EndLongWork();
  server.Stop();
  opening.volumes().UnmountAll();
  opening.store().SyncAll();
  close(end_fd);
  spdlog::info("ended");
}

}  // namespace

void Serve(const ServeSettings& settings) {
  SetUpLog(settings.log_level, settings.log_format);
  signal(SIGPIPE, SIG_IGN);
  GiveUpPrivileges();
  if (const auto inheritance = TakeInheritance()) {
    ServeAsDaemon(settings, *inheritance);
    return;
  }
  const bool is_check = IsCheckOfSupervision();
  std::optional<Supervision> before = TakeSupervision();
  const LoopbackAddress metrics = ParseLoopbackAddress(settings.metrics_address);
  if (!before) {
    CheckFuse();
    TryToListen(metrics);
  }
  StoreOptionsOf(settings);  // what means nothing is refused before anything is touched
  if (is_check) return;
  const int exit_code = before ? Supervise(settings, *std::move(before)) : Supervise(settings);
  if (exit_code != EXIT_SUCCESS) std::_Exit(exit_code);
}

}  // namespace rw
