// CollectTree of a mounted directory, with system calls.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "tests/support/sparse_bytes.h"
#include "tests/support/tree.h"

namespace rw::testing {
namespace {

FileTime ToFileTime(const timespec& time) {
  return {time.tv_sec, static_cast<uint32_t>(time.tv_nsec)};
}

class Collector {
 public:
  explicit Collector(std::string directory) : directory_(std::move(directory)) {}

  CollectedTree Run() {
    Visit("/");
    LinkNames(out_);
    return std::move(out_);
  }

 private:
  void Problem(const std::string& path, const std::string& what) {
    out_.problems.push_back(path + ": " + what);
  }
  void SystemProblem(const std::string& path, const std::string& call) {
    Problem(path, call + ": " + strerror(errno));
  }

  void Visit(const std::string& path) {
    const std::string real = directory_ + path;
    struct stat status;
    if (lstat(real.c_str(), &status) != 0) return SystemProblem(path, "lstat");
    TreeNode& node = out_.tree[path];
    out_.inos[path] = status.st_ino;
    node.mode = status.st_mode;
    node.uid = status.st_uid;
    node.gid = status.st_gid;
    node.nlink = static_cast<uint32_t>(status.st_nlink);
    node.rdev = static_cast<uint32_t>(status.st_rdev);
    node.size = S_ISDIR(status.st_mode) ? 0 : static_cast<uint64_t>(status.st_size);
    node.atime = ToFileTime(status.st_atim);
    node.mtime = ToFileTime(status.st_mtim);
    node.ctime = ToFileTime(status.st_ctim);
    ReadXattrs(path, real, node);
    if (S_ISREG(status.st_mode)) node.content_hash = ReadContents(path, real, node.size);
    if (S_ISLNK(status.st_mode)) {
      std::string target(4097, '\0');
      const ssize_t length = readlink(real.c_str(), target.data(), target.size());
      if (length < 0) SystemProblem(path, "readlink");
      node.target.assign(target, 0, length < 0 ? 0 : static_cast<size_t>(length));
    }
    if (S_ISDIR(status.st_mode)) VisitEntries(path, real, node.nlink);
  }

  void ReadXattrs(const std::string& path, const std::string& real, TreeNode& node) {
    std::string names(65536, '\0');
    const ssize_t length = llistxattr(real.c_str(), names.data(), names.size());
    if (length < 0) return SystemProblem(path, "llistxattr");
    for (size_t at = 0; at < static_cast<size_t>(length); at += strlen(names.data() + at) + 1) {
      const char* name = names.data() + at;
      std::string value(65536, '\0');
      const ssize_t size = lgetxattr(real.c_str(), name, value.data(), value.size());
      if (size < 0) SystemProblem(path, "lgetxattr");
      node.xattrs[name] = value.substr(0, size < 0 ? 0 : static_cast<size_t>(size));
    }
  }

  void VisitEntries(const std::string& path, const std::string& real, uint32_t nlink) {
    DIR* dir = opendir(real.c_str());
    if (dir == nullptr) return SystemProblem(path, "opendir");
    std::map<std::string, std::pair<ino_t, unsigned char>> entries;
    for (errno = 0; const dirent* entry = readdir(dir); errno = 0) {
      const std::string name = entry->d_name;
      if (name == "." || name == "..") continue;
      if (!entries.try_emplace(name, entry->d_ino, entry->d_type).second) {
        Problem(path, "lists " + name + " twice");
      }
    }
    if (errno != 0) SystemProblem(path, "readdir");
    closedir(dir);
    uint32_t subdirectories = 0;
    for (const auto& [name, seen] : entries) {
      const std::string below = (path == "/" ? "/" : path + "/") + name;
      Visit(below);
      const auto node = out_.tree.find(below);
      if (node == out_.tree.end()) continue;
      if (S_ISDIR(node->second.mode)) ++subdirectories;
      if (out_.inos.at(below) != seen.first) Problem(below, "readdir and lstat disagree on ino");
      if (IFTODT(node->second.mode) != seen.second) Problem(below, "readdir says another type");
    }
    if (nlink != 2 + subdirectories) {
      Problem(path, "nlink " + std::to_string(nlink) + " with " + std::to_string(subdirectories) +
                        " subdirectories");
    }
  }

  uint64_t ReadContents(const std::string& path, const std::string& real, uint64_t size) {
    const int fd = open(real.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
      SystemProblem(path, "open");
      return 0;
    }
    std::string bytes(size + 1, '#');
    size_t done = 0;
    while (done < bytes.size()) {
      const ssize_t got =
          pread(fd, bytes.data() + done, bytes.size() - done, static_cast<off_t>(done));
      if (got < 0) SystemProblem(path, "pread");
      if (got <= 0) break;
      done += static_cast<size_t>(got);
    }
    close(fd);
    if (done != size) Problem(path, "reading it gives " + std::to_string(done) + " bytes");
    bytes.resize(size);
    ContentHasher hasher;
    hasher.AddAll(bytes);
    return hasher.hash();
  }

  std::string directory_;
  CollectedTree out_;
};

}  // namespace

CollectedTree CollectTree(const std::string& directory) { return Collector(directory).Run(); }

}  // namespace rw::testing
