#include "fs/session.h"

#define FUSE_USE_VERSION 35
#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <poll.h>
#include <spdlog/spdlog.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "fs/figures.h"
#include "fs/page_dropper.h"
#include "fs/read_ahead.h"
#include "fs/request_board.h"
#include "fs/session_operations.h"
#include "fs/session_request.h"
#include "fs/session_threads.h"
#include "metadata/refused.h"

namespace rw {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// For tests: do as on kernels that do not send requests again.
constexpr char kWithoutResend[] = "REWIND_WITHOUT_RESEND";
constexpr milliseconds kUnmountPatience{2000};
// After this long, every process has seen the replies that an earlier daemon sent to it.
constexpr milliseconds kReplyPatience{30'000};
// That an inode is forgotten is said at once, but after requests that were there before.
constexpr milliseconds kForgetPatience{1000};
// Operations of one probe.
constexpr uint64_t kEmptiedAtOnce = 64;

class FuseSession : public Session {
 public:
  FuseSession(std::shared_ptr<Volume> volume, SessionOptions options)
      : mountpoint_(options.mountpoint),
        state_(std::move(volume), std::move(options.open_at), std::move(options.on_view),
               options.source),
        flags_(options.flags) {
    state_.make_room = std::move(options.make_room);
    state_.figures = std::move(options.figures);
    state_.drop_pages = [this](uint64_t node) { pages_.Drop(node); };
    state_.nodes.DropViewsBy([this](uint64_t slot) { views_.Drop(slot); });
    state_.drop_attributes = [this](uint64_t node) {
      fuse_lowlevel_notify_inval_inode(session_, node, -1, 0);
    };
    state_.await_forgotten = [this] { AwaitForgotten(); };
    if (options.inherited) {
      Inherit(std::move(*options.inherited));
      return;
    }
    board_ = std::make_unique<RequestBoard>();
    state_.nodes.volume().ForgetAll();  // no kernel knows anything of it yet
    MountNow();
    try {
      threads_.Add();
      WaitForInit();
    } catch (...) {
      threads_.StartNoMore();
      umount2(mountpoint_.c_str(), MNT_DETACH);
      JoinThreads();
      fuse_session_destroy(session_);
      throw;
    }
    ReadAheadMore(mountpoint_);
  }

  ~FuseSession() override {
    FuseSession::BeginEnd();
    pages_.Stop();  // while there are threads that serve what it may wait for
    views_.Stop();
    JoinThreads();
    fuse_session_destroy(
        session_);  // closes the descriptor: unless a supervisor has it too, the connection ends
    try {
      state_.nodes.volume().ForgetAll();
      state_.nodes.volume().Sync();
    } catch (const std::exception& error) {
      spdlog::error("{}: at unmount: {}", state_.source, error.what());
    }
  }

  bool alive() const override { return !fuse_session_exited(session_); }

  std::optional<SessionRemains> remains() const override {
    return SessionRemains{device_, board_->fd(), init_request_, {}};
  }

  void DropPastPages(Ino ino) override {
    for (const uint64_t node : state_.nodes.PastNodes(ino))
      fuse_lowlevel_notify_inval_inode(session_, node, 0, 0);
  }

  void NamesChanged(const std::vector<RestoreNote::Place>& places) override {
    for (const RestoreNote::Place& place : places) {
      fuse_lowlevel_notify_inval_entry(session_, place.parent, place.name.data(),
                                       place.name.size());
      fuse_lowlevel_notify_inval_inode(session_, place.parent, 0, 0);
      if (place.displaced != 0) fuse_lowlevel_notify_inval_inode(session_, place.displaced, -1, 0);
    }
  }

  void EndUnlinked(const std::vector<Ino>& inos) override { state_.nodes.EndUnlinked(inos); }

  void BeginEnd() override {
    if (end_at_) return;
    Unmount();
    end_at_ = steady_clock::now() + kUnmountPatience;
  }

  void Probe() override {
    threads_.Look([this](size_t number) { return board_->IsIdle(number); });
    state_.nodes.volume().FindInode(kRootIno);
    if (steady_clock::now() - began_ < kReplyPatience) return;
    state_.nodes.EndForgotten();
    // What a restore has left that did not come to its end.
    state_.nodes.volume().EmptyUnlinked(
        [this](const std::vector<Ino>& inos) { state_.nodes.EndUnlinked(inos); }, kEmptiedAtOnce);
  }

 private:
  // Makes the libfuse session, which owns the descriptor from then on.
  void MakeSession(int device) {
    char name[] = "rewind";
    char* argv[] = {name, nullptr};
    fuse_args args = FUSE_ARGS_INIT(1, argv);
    session_ = fuse_session_new(&args, &SessionOperations(), sizeof(fuse_lowlevel_ops), &state_);
    fuse_opt_free_args(&args);  // libfuse made a copy of its own
    if (session_ == nullptr) {
      close(device);
      throw Refused(EINVAL, "libfuse refused the session");
    }
    fuse_custom_io io{};
    io.read = [](int from, void* buffer, size_t size, void*) { return read(from, buffer, size); };
    io.writev = [](int to, iovec* parts, int count, void* userdata) {
      return WriteReply(to, parts, count, userdata);
    };
    if (const int result = fuse_session_custom_io(session_, &io, device); result != 0) {
      fuse_session_destroy(session_);
      close(device);
      throw Refused(-result, "libfuse refused the descriptor");
    }
    device_ = device;
  }

  void MountNow() {
    const int device = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    if (device < 0) {
      throw Refused(
          errno == ENOENT ? ENODEV : errno,
          std::string("cannot open /dev/fuse: ") + std::strerror(errno) + "; load the fuse module");
    }
    MakeSession(device);
    const unsigned long flags =
        flags_ | MS_NOATIME |
        (state_.nodes.volume().writable() ? 0UL : static_cast<unsigned long>(MS_RDONLY));
    const std::string data = "fd=" + std::to_string(device) +
                             ",rootmode=40000,user_id=0,group_id=0,default_permissions,allow_other";
    if (mount(state_.source.c_str(), mountpoint_.c_str(), "fuse.rewind", flags, data.c_str()) !=
        0) {
      const int error = errno;
      fuse_session_destroy(session_);
      throw Refused(error, "cannot mount " + state_.source + " at " + mountpoint_ + ": " +
                               std::strerror(error));
    }
  }

  // A mount that ends before it has begun could not be inherited.
  void WaitForInit() {
    std::unique_lock lock(init_mutex_);
    while (init_request_.empty()) {
      if (threads_.anyone_has_ended()) throw Refused(EIO, "the mount ended at once");
      initialised_.wait_for(lock, milliseconds(10));
    }
  }

  void Inherit(SessionRemains remains) {
    try {
      board_ = std::make_unique<RequestBoard>(std::exchange(remains.board, -1));
    } catch (...) {
      close(remains.device);
      throw;
    }
    MakeSession(remains.device);
    try {
      init_request_ = std::move(remains.init);
      swallowing_ = true;
      std::string init = init_request_;
      Process(init.data(), init.size());
      swallowing_ = false;
      resends_ = exchange_.resends() && std::getenv(kWithoutResend) == nullptr;
      const int device = device_;
      state_.nodes.Inherit(remains.views,
                           [device](uint64_t node) { return KernelKnows(device, node); });
      if (const auto end = board_->EarliestEnd())
        state_.journalled = state_.nodes.volume().JournalledSince(*end);
      board_->BeginAll(state_.nodes.volume().JournalEnd());
      inheriting_ = true;
      threads_.Add();
      FuseSession::NamesChanged(UntoldNames());
    } catch (...) {
      swallowing_ = false;
      fuse_session_destroy(session_);
      throw;
    }
  }

  // Called with the session's state as user data, on the thread that works on the request.
  static ssize_t WriteReply(int device, iovec* parts, int count, void* state) {
    if (CurrentRequest().opcode == kInitOpcode && count >= 2) {
      static_cast<SessionState*>(state)->agreed_flags = exchange_.EditReply(
          parts[0].iov_base, parts[0].iov_len, parts[1].iov_base, parts[1].iov_len);
    }
    if (swallowing_) {
      ssize_t bytes = 0;
      for (int i = 0; i < count; ++i) bytes += static_cast<ssize_t>(parts[i].iov_len);
      return bytes;
    }
    if (slot_ != nullptr && count == 1 && parts[0].iov_len == RequestBoard::kReplyHeaderBytes)
      slot_->Answer(parts[0].iov_base);
    return writev(device, parts, count);
  }

  void Serve(size_t number) {
    try {
      ServeRequests(number);
    } catch (const std::exception& error) {
      spdlog::error("{}: a thread ended: {}", state_.source, error.what());
    }
    slot_ = nullptr;
    fuse_session_exit(session_);
  }

  void ServeRequests(size_t number) {
    std::string first;
    if (inheriting_) first = FinishInherited();
    RequestBoard::Slot& slot = board_->Prepare(number);
    slot_ = &slot;
    if (!first.empty()) {
      std::memcpy(slot.request.data(), first.data(), first.size());
      Work(&slot, first.size());
    }
    while (!fuse_session_exited(session_)) {
      if (threads_.ShouldRest()) Rest(number);
      const ssize_t received = read(device_, slot.request.data(), slot.request.size());
      if (received < 0 && MayReadAgain(errno)) continue;
      if (received <= 0) break;  // unmounted
      Work(&slot, static_cast<size_t>(received));
    }
  }

  // Returns with the slot's memory there, or when the session ends. To be read after: who was woken
  // is needed, whatever the next look has said meanwhile.
  void Rest(size_t number) {
    const SessionThreads::Rest rest = threads_.BeginRest();
    if (rest == SessionThreads::Rest::kNone) return;
    board_->GiveBack(number);
    if (rest == SessionThreads::Rest::kOff) {
      threads_.WaitUntilCalled();
    } else {
      // Also readable: a connection that has ended.
      pollfd readable{device_, POLLIN, 0};
      while (!fuse_session_exited(session_) && poll(&readable, 1, -1) < 0 && errno == EINTR) {
      }
      threads_.EndWatch();
    }
    if (!fuse_session_exited(session_)) board_->Prepare(number);
  }

  // ENOENT: the request was taken back.
  static bool MayReadAgain(int error) {
    return error == EINTR || error == EAGAIN || error == ENOENT;
  }

  void Work(RequestBoard::Slot* slot, size_t size) {
    slot->Begin(state_.nodes.volume().JournalEnd());
    threads_.BeginWork();
    Process(slot->request.data(), size);
    if (CurrentRequest().opcode == kInitOpcode) {
      const std::lock_guard lock(init_mutex_);
      init_request_.assign(slot->request.data(), size);
      initialised_.notify_all();
    }
    slot->Clear();
    threads_.EndWork();
  }

  void Process(char* request, size_t size, bool again = false) {
    static thread_local std::string translated;  // the board keeps requests as they came
    if (NeedsTranslation(request, size)) {
      translated.assign(request, size);
      request = translated.data();
    }
    fuse_buf buffer{};
    buffer.mem = request;
    buffer.size = size;
    CurrentRequest() = TranslateRequest(buffer.mem, &buffer.size, state_.agreed_flags);
    CurrentRequest().resent |= again;
    if (CurrentRequest().opcode == kInitOpcode) exchange_.SawRequest(buffer.mem, buffer.size);
    const auto begun = std::chrono::steady_clock::now();
    fuse_session_process_buf(session_, &buffer);
    const uint64_t took = NanosecondsSince(begun);
    const RequestKind kind = KindOfOpcode(CurrentRequest().opcode);
    CountRequest(kind, took);
    if (state_.figures != nullptr) state_.figures->Count(kind, took);
  }

  // Names that a restore has changed and the earlier daemon may not have told the kernel of. Others
  // stay as the kernel knows them: what is mounted on a directory goes when its name is doubted.
  std::vector<RestoreNote::Place> UntoldNames() {
    Volume& volume = state_.nodes.volume();
    std::vector<RestoreNote::Place> untold;
    for (RestoreNote::Place& place : volume.LastRestored()) {
      if (!volume.FindInode(place.parent)) continue;
      const auto now = volume.Lookup(place.parent, place.name);
      if (place.displaced != 0 ? volume.FindInode(place.displaced).has_value()
                               : now && !KernelKnows(device_, now->ino))
        untold.push_back(std::move(place));
    }
    return untold;
  }

  // Does and answers what the earlier daemon did not; on the only thread that there is. Until it
  // returns, the board is as the earlier daemon left it, for the one after this. May return a
  // request that was received meanwhile.
  std::string FinishInherited() {
    std::string first;
    if (resends_ && AskToResend(device_)) {
      first = WorkOnResent();
    } else {
      WorkOnLeftovers();
    }
    state_.journalled.clear();
    board_->ClearAll();
    inheriting_ = false;
    return first;
  }

  // What is sent again comes before everything else but what needs no answer.
  std::string WorkOnResent() {
    std::string buffer(RequestBoard::kBufferBytes, '\0');
    pollfd readable{device_, POLLIN, 0};
    while (poll(&readable, 1, 0) > 0 && (readable.revents & POLLIN) != 0) {
      const ssize_t received = read(device_, buffer.data(), buffer.size());
      if (received < 0 && MayReadAgain(errno)) continue;
      if (received <= 0) break;
      const auto size = static_cast<size_t>(received);
      if (IsNewAndWaits(buffer.data(), size)) return buffer.substr(0, size);
      Process(buffer.data(), size);
    }
    return {};
  }

  void AwaitForgotten() {
    std::vector<Ino> leaving = state_.nodes.UnlinkedAndKnown();
    std::erase_if(leaving, [this](Ino ino) { return KernelKnows(device_, ino); });
    const auto deadline = steady_clock::now() + kForgetPatience;
    while (!leaving.empty() && steady_clock::now() < deadline) {
      std::this_thread::sleep_for(std::chrono::microseconds(100));
      std::erase_if(leaving,
                    [this](Ino ino) { return !state_.nodes.volume().FindInode(ino).has_value(); });
    }
  }

  // For kernels that do not send again: the earlier daemon's copies will do.
  void WorkOnLeftovers() {
    for (RequestBoard::Leftover& left : board_->Leftovers()) {
      if (left.answer) {
        // The kernel refuses what it has got already.
        const std::string& answer = *left.answer;
        if (write(device_, answer.data(), answer.size()) < 0 && errno != ENOENT)
          spdlog::warn("{}: an answer was refused: {}", state_.source, std::strerror(errno));
      } else {
        Process(left.request.data(), left.request.size(), true);
      }
      board_->Clear(left.slot);
    }
  }

  void Unmount() {
    threads_.StartNoMore();
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
    const auto deadline = end_at_.value_or(steady_clock::now() + kUnmountPatience);
    while (!threads_.all_have_ended()) {
      if (steady_clock::now() > deadline) {
        fuse_session_exit(session_);
        threads_.Wake();
      }
      std::this_thread::sleep_for(milliseconds(1));
    }
    threads_.Join();
  }

  static constexpr uint32_t kInitOpcode = 26;
  // Of the thread that works on a request. INIT is the first one, and alone.
  static thread_local InitExchange exchange_;
  static thread_local bool swallowing_;  // the kernel has had its reply long ago
  static thread_local RequestBoard::Slot* slot_;

  std::string mountpoint_;
  SessionState state_;
  const unsigned long flags_;  // of mount(2)
  const steady_clock::time_point began_ = steady_clock::now();
  std::optional<steady_clock::time_point> end_at_;  // of the patience with who does not let go
  fuse_session* session_ = nullptr;
  PageDropper pages_{
      [this](uint64_t node) { fuse_lowlevel_notify_inval_inode(session_, node, 0, 0); }};
  // The kernel takes the lock of `.rewind` for it, which it holds while it waits for a lookup
  // there.
  PageDropper views_{[this](uint64_t slot) {
    if (const auto name = state_.nodes.NameOfView(slot))
      fuse_lowlevel_notify_inval_entry(session_, kHiddenNode, name->data(), name->size());
  }};
  int device_ = -1;  // session_ owns it
  std::unique_ptr<RequestBoard> board_;
  bool resends_ = false;     // the kernel does, when asked
  bool inheriting_ = false;  // the first thread's, and there are no others meanwhile
  std::mutex init_mutex_;    // guards what follows, while the first thread may serve
  std::string init_request_;
  std::condition_variable initialised_;
  SessionThreads threads_{RequestBoard::kSlots, [this](size_t number) { Serve(number); }};
};

thread_local InitExchange FuseSession::exchange_;
thread_local bool FuseSession::swallowing_ = false;
thread_local RequestBoard::Slot* FuseSession::slot_ = nullptr;

}  // namespace

std::unique_ptr<Session> Session::Mount(std::shared_ptr<Volume> volume, SessionOptions options) {
  return std::make_unique<FuseSession>(std::move(volume), std::move(options));
}

}  // namespace rw
