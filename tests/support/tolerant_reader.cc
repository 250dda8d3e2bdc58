#include "tests/support/tolerant_reader.h"

#include <errno.h>
#include <sys/stat.h>

#include <map>

#include "metadata/refused.h"
#include "metadata/time_text.h"

namespace rw::testing {
namespace {

constexpr uint64_t kPieceBytes = 8192;

class Reader {
 public:
  Reader(Volume& view, const Twin& twin, Instant at) : view_(view), twin_(twin), at_(at) {}

  TolerantResult Run() {
    Visit("/", kModelRoot);
    return std::move(result_);
  }

 private:
  void Lie(const std::string& path, const std::string& what) {
    if (!result_.lie.empty()) return;
    result_.lie = twin_.name + " at " + FormatInstant(at_) + ": " + path + ": " + what;
  }

  // False if the answer was an error.
  template <typename Ask>
  bool Try(const std::string& path, Ask ask) {
    try {
      ask();
      ++result_.answers;
      return true;
    } catch (const Refused& refused) {
      ++result_.errors;
      result_.lines.insert(refused.what());
      if (refused.error() != EIO) Lie(path, std::string("refused otherwise: ") + refused.what());
      return false;
    }
  }

  void Visit(const std::string& path, ModelIno number) {
    const ModelNode& node = *twin_.model.FindAt(number, at_);
    const Ino ino = twin_.inos.at(number);
    std::optional<Inode> inode;
    if (!Try(path, [&] { inode = view_.FindInode(ino); })) return;
    if (!inode) return Lie(path, "is not there");
    Compare(path, node, *inode);
    Try(path, [&] { CompareXattrs(path, node, ino); });
    if (node.is_regular()) ReadContents(path, node, ino);
    if (!node.is_dir()) return;
    Try(path, [&] { List(path, node, ino); });
    for (const auto& [name, child] : node.entries) {
      const std::string below = path == "/" ? path + name : path + "/" + name;
      Try(below, [&] {
        const auto found = view_.Lookup(ino, name);
        if (!found) return Lie(below, "is not found");
        if (found->ino != twin_.inos.at(child)) Lie(below, "is another inode");
      });
      if (visited_.insert(child).second) Visit(below, child);
    }
  }

  void Compare(const std::string& path, const ModelNode& node, const Inode& inode) {
    if (node.mode != inode.mode || node.uid != inode.uid || node.gid != inode.gid ||
        node.nlink != inode.nlink || node.rdev != inode.rdev || !(node.mtime == inode.mtime) ||
        !(node.ctime == inode.ctime) || !(node.atime == inode.atime))
      Lie(path, "has other attributes");
    if (node.is_symlink() && node.target != inode.target) Lie(path, "has another target");
    const uint64_t size = node.is_dir()       ? node.entries.size()
                          : node.is_regular() ? node.content->size()
                                              : inode.size;
    if (size != inode.size) Lie(path, "has another size");
  }

  void CompareXattrs(const std::string& path, const ModelNode& node, Ino ino) {
    std::map<std::string, std::string> xattrs;
    for (const std::string& name : view_.ListXattrs(ino))
      xattrs[name] = view_.GetXattr(ino, name).value_or("lost between two questions");
    if (xattrs != node.xattrs) Lie(path, "has other xattrs");
  }

  void List(const std::string& path, const ModelNode& node, Ino ino) {
    std::map<std::string, Ino> listed, expected;
    uint64_t after = 0;
    for (;;) {
      const auto entries = view_.ReadDir(ino, after, 50);
      if (entries.empty()) break;
      for (const DirEntry& entry : entries) listed[entry.name] = entry.ino;
      after = entries.back().cookie;
    }
    for (const auto& [name, child] : node.entries) expected[name] = twin_.inos.at(child);
    if (listed != expected) Lie(path, "lists other names");
  }

  void ReadContents(const std::string& path, const ModelNode& node, Ino ino) {
    std::string bytes;
    for (uint64_t from = 0; from < node.content->size(); from += kPieceBytes) {
      Try(path, [&] {
        bytes.assign(kPieceBytes, '#');
        bytes.resize(view_.Read(ino, from, bytes));
        if (bytes != node.content->Read(from, kPieceBytes))
          Lie(path, "holds other bytes between " + std::to_string(from) + " and " +
                        std::to_string(from + kPieceBytes));
      });
    }
  }

  Volume& view_;
  const Twin& twin_;
  const Instant at_;
  TolerantResult result_;
  std::set<ModelIno> visited_;
};

}  // namespace

void TolerantResult::Add(const TolerantResult& other) {
  answers += other.answers;
  errors += other.errors;
  lines.insert(other.lines.begin(), other.lines.end());
  if (lie.empty()) lie = other.lie;
}

TolerantResult ReadTolerantly(Volume& view, const Twin& twin, Instant at) {
  return Reader(view, twin, at).Run();
}

}  // namespace rw::testing
