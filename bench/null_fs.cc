// A FUSE filesystem that forgets what is written to it: what FUSE alone costs, and so the most that
// any filesystem of its kind can do.
//
//   null_fs [--spin MICROSECONDS] MOUNTPOINT
//
// Serves until it is unmounted. Names and sizes are kept, in memory; contents read as zeros. The
// session is as rewind's: the same INIT, no requests to open, names and attributes cached without
// end, threads that block in read and are added while all are busy. With --spin it has one thread
// instead, which looks for the next request that long before it sleeps.
#define FUSE_USE_VERSION 35
#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <poll.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <vector>

#include "fs/session_request.h"

namespace {

using std::chrono::microseconds;
using std::chrono::steady_clock;

constexpr double kForever = 1e9;
constexpr size_t kMaxWriteBytes = 1 << 20;
constexpr size_t kBufferBytes = kMaxWriteBytes + 4096;
constexpr size_t kMaxThreads = 16;
constexpr uint32_t kInitOpcode = 26;

struct Node {
  mode_t mode = 0;
  off_t size = 0;
  nlink_t links = 1;
  std::map<std::string, fuse_ino_t, std::less<>> names;
};

// Guarded by mutex.
std::mutex mutex;
std::unordered_map<fuse_ino_t, Node> nodes;
fuse_ino_t last_node = FUSE_ROOT_ID;

thread_local rw::InitExchange exchange;
uint32_t agreed_flags = 0;

struct stat StatOf(fuse_ino_t id, const Node& node) {
  struct stat st {};
  st.st_ino = id;
  st.st_mode = node.mode;
  st.st_nlink = node.links;
  st.st_size = node.size;
  return st;
}

fuse_entry_param EntryOf(fuse_ino_t id, const Node& node) {
  fuse_entry_param entry{};
  entry.ino = id;
  entry.attr = StatOf(id, node);
  entry.attr_timeout = kForever;
  entry.entry_timeout = kForever;
  return entry;
}

void Lookup(fuse_req_t req, fuse_ino_t parent, const char* name) {
  fuse_entry_param entry{};
  entry.entry_timeout = kForever;
  {
    const std::lock_guard lock(mutex);
    const auto& names = nodes[parent].names;
    if (const auto found = names.find(std::string_view(name)); found != names.end())
      entry = EntryOf(found->second, nodes[found->second]);
  }
  fuse_reply_entry(req, &entry);
}

void GetAttr(fuse_req_t req, fuse_ino_t id, fuse_file_info*) {
  struct stat st {};
  {
    const std::lock_guard lock(mutex);
    st = StatOf(id, nodes[id]);
  }
  fuse_reply_attr(req, &st, kForever);
}

void SetAttr(fuse_req_t req, fuse_ino_t id, struct stat* wanted, int which, fuse_file_info*) {
  struct stat st {};
  {
    const std::lock_guard lock(mutex);
    Node& node = nodes[id];
    if (which & FUSE_SET_ATTR_SIZE) node.size = wanted->st_size;
    if (which & FUSE_SET_ATTR_MODE)
      node.mode = (node.mode & S_IFMT) | (wanted->st_mode & ~mode_t{S_IFMT});
    st = StatOf(id, node);
  }
  fuse_reply_attr(req, &st, kForever);
}

void Make(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode) {
  fuse_entry_param entry;
  {
    const std::lock_guard lock(mutex);
    const fuse_ino_t id = ++last_node;
    nodes[parent].names[name] = id;
    Node& node = nodes[id];
    node.mode = mode;
    entry = EntryOf(id, node);
  }
  fuse_reply_entry(req, &entry);
}

void MkNod(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode, dev_t) {
  Make(req, parent, name, mode);
}

void MkDir(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode) {
  Make(req, parent, name, S_IFDIR | mode);
}

void Remove(fuse_req_t req, fuse_ino_t parent, const char* name) {
  bool found;
  {
    const std::lock_guard lock(mutex);
    found = nodes[parent].names.erase(name) > 0;
  }
  fuse_reply_err(req, found ? 0 : ENOENT);
}

void Read(fuse_req_t req, fuse_ino_t id, size_t size, off_t offset, fuse_file_info*) {
  static const std::vector<char> zeros(kMaxWriteBytes);
  off_t end;
  {
    const std::lock_guard lock(mutex);
    end = nodes[id].size;
  }
  const auto there = static_cast<size_t>(std::max<off_t>(0, end - offset));
  fuse_reply_buf(req, zeros.data(), std::min({size, there, zeros.size()}));
}

void Write(fuse_req_t req, fuse_ino_t id, const char*, size_t size, off_t offset, fuse_file_info*) {
  {
    const std::lock_guard lock(mutex);
    Node& node = nodes[id];
    node.size = std::max(node.size, offset + static_cast<off_t>(size));
  }
  fuse_reply_write(req, size);
}

void FSync(fuse_req_t req, fuse_ino_t, int, fuse_file_info*) { fuse_reply_err(req, 0); }

void ReadDir(fuse_req_t req, fuse_ino_t id, size_t size, off_t offset, fuse_file_info*) {
  std::vector<char> buffer(size);
  size_t used = 0;
  {
    const std::lock_guard lock(mutex);
    const auto& names = nodes[id].names;
    auto next = names.begin();
    std::advance(next, std::min<off_t>(offset, static_cast<off_t>(names.size())));
    for (; next != names.end(); ++next) {
      const struct stat st = StatOf(next->second, nodes[next->second]);
      const size_t needed = fuse_add_direntry(req, buffer.data() + used, size - used,
                                              next->first.c_str(), &st, ++offset);
      if (needed > size - used) break;
      used += needed;
    }
  }
  fuse_reply_buf(req, buffer.data(), used);
}

void OpenIsNotNeeded(fuse_req_t req, fuse_ino_t, fuse_file_info*) { fuse_reply_err(req, ENOSYS); }

void Init(void*, fuse_conn_info* connection) {
  connection->want =
      connection->capable & (FUSE_CAP_ASYNC_READ | FUSE_CAP_ASYNC_DIO | FUSE_CAP_PARALLEL_DIROPS |
                             FUSE_CAP_NO_OPEN_SUPPORT | FUSE_CAP_NO_OPENDIR_SUPPORT |
                             FUSE_CAP_EXPLICIT_INVAL_DATA | FUSE_CAP_DONT_MASK);
  connection->max_write = kMaxWriteBytes;
  connection->max_background = 64;
  connection->congestion_threshold = 48;
  connection->time_gran = 1;
}

const fuse_lowlevel_ops& Operations() {
  static const fuse_lowlevel_ops operations = [] {
    fuse_lowlevel_ops ops{};
    ops.init = Init;
    ops.lookup = Lookup;
    ops.getattr = GetAttr;
    ops.setattr = SetAttr;
    ops.mknod = MkNod;
    ops.mkdir = MkDir;
    ops.unlink = Remove;
    ops.rmdir = Remove;
    ops.open = OpenIsNotNeeded;
    ops.opendir = OpenIsNotNeeded;
    ops.read = Read;
    ops.write = Write;
    ops.fsync = FSync;
    ops.fsyncdir = FSync;
    ops.readdir = ReadDir;
    return ops;
  }();
  return operations;
}

ssize_t WriteReply(int device, iovec* parts, int count, void*) {
  if (rw::CurrentRequest().opcode == kInitOpcode && count >= 2) {
    agreed_flags = exchange.EditReply(parts[0].iov_base, parts[0].iov_len, parts[1].iov_base,
                                      parts[1].iov_len);
  }
  return writev(device, parts, count);
}

class Threads {
 public:
  Threads(fuse_session* session, int device, microseconds spin)
      : session_(session), device_(device), spin_(spin) {}

  void Run() {
    if (spin_.count() > 0) fcntl(device_, F_SETFL, fcntl(device_, F_GETFL) | O_NONBLOCK);
    Start();
    for (size_t i = 0; std::thread* thread = Started(i); ++i) thread->join();
  }

 private:
  std::thread* Started(size_t number) {
    const std::lock_guard lock(mutex_);
    return number < threads_.size() ? &threads_[number] : nullptr;
  }

  void Start() {
    const std::lock_guard lock(mutex_);
    if (threads_.size() >= (spin_.count() > 0 ? 1 : kMaxThreads)) return;
    ++idle_;
    threads_.emplace_back([this] { Serve(); });
  }

  void Serve() {
    std::vector<char> bytes(kBufferBytes);
    while (!fuse_session_exited(session_)) {
      const ssize_t received = spin_.count() > 0 ? SpinAndRead(&bytes) : ReadOnce(&bytes);
      if (received < 0 && (errno == EINTR || errno == ENOENT || errno == EAGAIN)) continue;
      if (received <= 0) return;  // unmounted
      if (--idle_ == 0) Start();
      fuse_buf buffer{};
      buffer.mem = bytes.data();
      buffer.size = static_cast<size_t>(received);
      rw::CurrentRequest() = rw::TranslateRequest(buffer.mem, &buffer.size, agreed_flags);
      if (rw::CurrentRequest().opcode == kInitOpcode) exchange.SawRequest(buffer.mem, buffer.size);
      fuse_session_process_buf(session_, &buffer);
      ++idle_;
    }
  }

  ssize_t ReadOnce(std::vector<char>* bytes) { return read(device_, bytes->data(), bytes->size()); }

  ssize_t SpinAndRead(std::vector<char>* bytes) {
    const auto until = steady_clock::now() + spin_;
    do {
      const ssize_t received = ReadOnce(bytes);
      if (received >= 0 || errno != EAGAIN) return received;
    } while (steady_clock::now() < until);
    pollfd readable{device_, POLLIN, 0};
    poll(&readable, 1, -1);
    return ReadOnce(bytes);
  }

  fuse_session* session_;
  const int device_;
  const microseconds spin_;
  std::atomic<int> idle_{0};
  std::mutex mutex_;
  std::deque<std::thread> threads_;
};

int Fail(const char* what) {
  std::fprintf(stderr, "null_fs: %s: %s\n", what, std::strerror(errno));
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  const bool spins = argc == 4 && std::string_view(argv[1]) == "--spin";
  if (argc != 2 && !spins) {
    std::fprintf(stderr, "usage: %s [--spin MICROSECONDS] MOUNTPOINT\n", argv[0]);
    return 2;
  }
  const char* const mountpoint = argv[argc - 1];
  Node& root = nodes[FUSE_ROOT_ID];
  root.mode = S_IFDIR | 0777;
  root.links = 2;

  const int device = open("/dev/fuse", O_RDWR | O_CLOEXEC);
  if (device < 0) return Fail("/dev/fuse");
  char* session_argv[] = {argv[0], nullptr};
  fuse_args args = FUSE_ARGS_INIT(1, session_argv);
  fuse_session* const session =
      fuse_session_new(&args, &Operations(), sizeof(fuse_lowlevel_ops), nullptr);
  fuse_opt_free_args(&args);
  fuse_custom_io io{};
  io.read = [](int from, void* buffer, size_t size, void*) { return read(from, buffer, size); };
  io.writev = WriteReply;
  if (session == nullptr || fuse_session_custom_io(session, &io, device) != 0)
    return Fail("libfuse");
  const std::string data = "fd=" + std::to_string(device) +
                           ",rootmode=40000,user_id=0,group_id=0,default_permissions,allow_other";
  if (mount("null_fs", mountpoint, "fuse.null_fs", MS_NOATIME | MS_NOSUID | MS_NODEV,
            data.c_str()) != 0)
    return Fail(mountpoint);
  Threads(session, device, microseconds(spins ? std::atol(argv[2]) : 0)).Run();
  fuse_session_destroy(session);
  return 0;
}
