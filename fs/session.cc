#include "fs/session.h"

#define FUSE_USE_VERSION 35
#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <pthread.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <list>
#include <mutex>
#include <thread>
#include <vector>

#include "fs/page_dropper.h"
#include "fs/session_operations.h"
#include "fs/session_request.h"
#include "metadata/refused.h"

namespace rw {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// Threads are added while all are busy: each fsync and each cold read holds one.
constexpr size_t kMaxThreads = 16;
constexpr milliseconds kUnmountPatience{2000};
constexpr int kWakeSignal =
    SIGURG;  // ignored by default; the handler only interrupts a blocking read

void InstallWakeHandler() {
  static std::once_flag once;
  std::call_once(once, [] {
    struct sigaction action {};
    action.sa_handler = [](int) {};
    sigaction(kWakeSignal, &action, nullptr);
  });
}

class FuseSession : public Session {
 public:
  FuseSession(std::shared_ptr<Volume> volume, SessionOptions options)
      : mountpoint_(options.mountpoint),
        state_(std::move(volume), std::move(options.open_at), options.source),
        flags_(options.flags) {
    state_.make_room = std::move(options.make_room);
    state_.drop_pages = [this](uint64_t node) { pages_.Drop(node); };
    state_.nodes.volume().ForgetAll();  // no kernel knows anything of it yet
    MountNow();
    try {
      StartThread();
    } catch (...) {
      umount2(mountpoint_.c_str(), MNT_DETACH);
      fuse_session_destroy(session_);
      throw;
    }
  }

  ~FuseSession() override {
    Unmount();
    pages_.Stop();  // while there are threads that serve what it may wait for
    JoinThreads();
    fuse_session_destroy(
        session_);  // closes the descriptor, which ends the connection whoever still holds it
    try {
      state_.nodes.volume().ForgetAll();
      state_.nodes.volume().Sync();
    } catch (const std::exception& error) {
      spdlog::error("{}: at unmount: {}", state_.source, error.what());
    }
  }

  bool alive() const override { return !fuse_session_exited(session_); }

 private:
  void MountNow() {
    const int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    if (fd < 0) {
      throw Refused(
          errno == ENOENT ? ENODEV : errno,
          std::string("cannot open /dev/fuse: ") + std::strerror(errno) + "; load the fuse module");
    }
    char name[] = "rewind";
    char* argv[] = {name, nullptr};
    fuse_args args = FUSE_ARGS_INIT(1, argv);
    session_ = fuse_session_new(&args, &SessionOperations(), sizeof(fuse_lowlevel_ops), &state_);
    fuse_opt_free_args(&args);  // libfuse made a copy of its own
    if (session_ == nullptr) {
      close(fd);
      throw Refused(EINVAL, "libfuse refused the session");
    }
    fuse_custom_io io{};
    io.read = [](int from, void* buffer, size_t size, void* userdata) {
      return ReadRequest(from, buffer, size, userdata);
    };
    io.writev = [](int to, iovec* parts, int count, void* userdata) {
      return WriteReply(to, parts, count, userdata);
    };
    if (const int result = fuse_session_custom_io(session_, &io, fd); result != 0) {
      fuse_session_destroy(session_);
      close(fd);
      throw Refused(-result, "libfuse refused the descriptor");
    }
    const unsigned long flags =
        flags_ | MS_NOATIME |
        (state_.nodes.volume().writable() ? 0UL : static_cast<unsigned long>(MS_RDONLY));
    const std::string data = "fd=" + std::to_string(fd) +
                             ",rootmode=40000,user_id=0,group_id=0,default_permissions,allow_other";
    if (mount(state_.source.c_str(), mountpoint_.c_str(), "fuse.rewind", flags, data.c_str()) !=
        0) {
      const int error = errno;
      fuse_session_destroy(session_);
      throw Refused(error, "cannot mount " + state_.source + " at " + mountpoint_ + ": " +
                               std::strerror(error));
    }
  }

  // Both are called with the session's state as user data; the exchange that INIT is lives in a
  // session's first moments and on one thread.
  static ssize_t ReadRequest(int fd, void* buffer, size_t size, void*) {
    return read(fd, buffer, size);
  }

  static ssize_t WriteReply(int fd, iovec* parts, int count, void* state) {
    if (CurrentRequest().opcode == kInitOpcode && count >= 2) {
      static_cast<SessionState*>(state)->agreed_flags =
          init_.EditReply(parts[0].iov_base, parts[0].iov_len, parts[1].iov_base, parts[1].iov_len);
    }
    return writev(fd, parts, count);
  }

  // With one thread at least, to be had no more of is no reason to end.
  void StartThread() {
    InstallWakeHandler();
    const std::lock_guard lock(threads_mutex_);
    if (threads_.size() >= kMaxThreads || stopping_) return;
    ++idle_;
    try {
      threads_.emplace_back([this] { Serve(); });
    } catch (const std::system_error&) {
      --idle_;
      if (threads_.empty()) throw;
    }
  }

  void Serve() {
    fuse_buf buffer{};
    while (!fuse_session_exited(session_)) {
      const int received = fuse_session_receive_buf(session_, &buffer);
      if (received == -EINTR || received == -EAGAIN) continue;
      if (received <= 0) break;
      if (--idle_ == 0) StartThread();
      CurrentRequest() = TranslateRequest(buffer.mem, &buffer.size, state_.agreed_flags);
      if (CurrentRequest().opcode == kInitOpcode) init_.SawRequest(buffer.mem, buffer.size);
      fuse_session_process_buf(session_, &buffer);
      ++idle_;
    }
    --idle_;
    fuse_session_exit(session_);
    ++finished_;
    free(buffer.mem);
  }

  void Unmount() {
    {
      const std::lock_guard lock(threads_mutex_);
      stopping_ = true;
    }
    if (fuse_session_exited(session_)) {
      umount2(mountpoint_.c_str(), MNT_DETACH);  // a dead mount may still be there
      return;
    }
    if (umount2(mountpoint_.c_str(), 0) == 0 || errno == EINVAL || errno == ENOENT) return;
    spdlog::warn("{}: {} is busy; detaching it", state_.source, mountpoint_);
    umount2(mountpoint_.c_str(), MNT_DETACH);
  }

  void JoinThreads() {
    // The connection ends with the last mount of it, in whatever namespace; that is waited for, but
    // not for ever.
    const auto deadline = steady_clock::now() + kUnmountPatience;
    while (finished_ < threads_.size()) {
      if (steady_clock::now() > deadline) {
        fuse_session_exit(session_);
        for (std::thread& thread : threads_) pthread_kill(thread.native_handle(), kWakeSignal);
      }
      std::this_thread::sleep_for(milliseconds(1));
    }
    for (std::thread& thread : threads_) thread.join();
  }

  static constexpr uint32_t kInitOpcode = 26;
  static thread_local InitExchange init_;

  std::string mountpoint_;
  SessionState state_;
  const unsigned long flags_;  // of mount(2)
  fuse_session* session_ = nullptr;
  PageDropper pages_{
      [this](uint64_t node) { fuse_lowlevel_notify_inval_inode(session_, node, 0, 0); }};
  std::atomic<int> idle_{0};
  std::atomic<size_t> finished_{0};
  std::mutex threads_mutex_;  // guards what follows, while the session serves
  bool stopping_ = false;
  std::list<std::thread> threads_;
};

thread_local InitExchange FuseSession::init_;

}  // namespace

std::unique_ptr<Session> Session::Mount(std::shared_ptr<Volume> volume, SessionOptions options) {
  return std::make_unique<FuseSession>(std::move(volume), std::move(options));
}

}  // namespace rw
