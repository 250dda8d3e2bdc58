#include "plugin/archive_reader.h"

#include <archive.h>
#include <archive_entry.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "fs/acl.h"
#include "metadata/quoted.h"
#include "metadata/refused.h"
#include "plugin/archive_acl.h"
#include "plugin/tree_stream.h"

namespace rw {
namespace {

constexpr size_t kInputBytes = 256 << 10;
constexpr uint64_t kTarBlockBytes = 512;

struct FreeArchive {
  void operator()(archive* a) const { archive_read_free(a); }
};
using ArchivePointer = std::unique_ptr<archive, FreeArchive>;

std::string ErrorOf(archive* a) {
  const char* why = archive_error_string(a);
  return why != nullptr ? why : "it cannot be read";
}

// The archive's bytes, decompressed. They are cut out by a reader of their own, because only who
// counts them can tell an archive that ends from one that was cut off between two files.
class Decompressed {
 public:
  explicit Decompressed(const ArchiveSource& source) : source_(source), buffer_(kInputBytes, '\0') {
    archive* a = archive_.get();
    archive_read_support_format_raw(a);
    archive_read_support_format_empty(a);
    // Those that libarchive does itself: others would be programs that it starts.
    archive_read_support_filter_gzip(a);
    archive_read_support_filter_bzip2(a);
    archive_read_support_filter_compress(a);
    archive_read_support_filter_lzma(a);
    archive_read_support_filter_xz(a);
    archive_read_support_filter_lzip(a);
    archive_read_support_filter_zstd(a);
    archive_read_support_filter_lz4(a);
  }

  // Empty at the end. Throws Refused.
  std::string_view Next() {
    archive* a = archive_.get();
    if (!opened_) {
      Check(archive_read_open(a, this, nullptr, &Decompressed::Input, nullptr));
      archive_entry* entry = nullptr;
      const int result = archive_read_next_header(a, &entry);
      if (result == ARCHIVE_EOF) return {};
      Check(result);
      opened_ = true;
    }
    const void* bytes = nullptr;
    size_t size = 0;
    la_int64_t offset = 0;
    for (;;) {
      const int result = archive_read_data_block(a, &bytes, &size, &offset);
      if (result == ARCHIVE_EOF) return {};
      Check(result);
      if (size > 0) break;
    }
    total_ += size;
    return {static_cast<const char*>(bytes), size};
  }
  uint64_t total() const { return total_; }

 private:
  static la_ssize_t Input(archive* a, void* self, const void** bytes) {
    auto* input = static_cast<Decompressed*>(self);
    ssize_t count = 0;
    do {
      count = read(input->source_.fd, input->buffer_.data(), input->buffer_.size());
    } while (count < 0 && errno == EINTR);
    if (count < 0) {
      archive_set_error(a, errno, "cannot read it: %s", std::strerror(errno));
      return -1;
    }
    input->read_ += static_cast<uint64_t>(count);
    if (input->source_.on_progress) input->source_.on_progress(input->read_);
    *bytes = input->buffer_.data();
    return count;
  }

  void Check(int result) const {
    if (result == ARCHIVE_OK || result == ARCHIVE_WARN) return;
    throw Refused(EINVAL, ErrorOf(archive_.get()));
  }

  const ArchiveSource& source_;
  ArchivePointer archive_{archive_read_new()};
  std::string buffer_;
  bool opened_ = false;
  uint64_t read_ = 0, total_ = 0;
};

using Xattr = std::pair<std::string, std::string>;

// As libarchive writes names of xattrs: whatever is not plain, as %XX.
std::string Escaped(const std::string& name) {
  std::string escaped;
  for (const char c : name) {
    const auto byte = static_cast<uint8_t>(c);
    if (byte > 32 && byte < 127 && c != '%' && c != '=') {
      escaped += c;
    } else {
      char text[4];
      std::snprintf(text, sizeof text, "%%%02X", byte);
      escaped += text;
    }
  }
  return escaped;
}

// As GNU tar writes them: only what a pax header cannot hold.
std::string UnescapedAsByTar(std::string name) {
  for (size_t at = 0; (at = name.find('%', at)) != std::string::npos; ++at) {
    const std::string code = name.substr(at + 1, 2);
    if (code == "3D" || code == "25") name.replace(at, 3, code == "3D" ? "=" : "%");
  }
  return name;
}

// libarchive writes each twice, once with its name escaped, and reads that one as it is.
std::vector<Xattr> XattrsOf(archive_entry* entry) {
  std::multiset<Xattr> all;
  archive_entry_xattr_reset(entry);
  const char* name = nullptr;
  const void* value = nullptr;
  size_t size = 0;
  while (archive_entry_xattr_next(entry, &name, &value, &size) == ARCHIVE_OK)
    all.emplace(name, std::string(static_cast<const char*>(value), size));
  std::vector<Xattr> xattrs;
  while (!all.empty()) {
    // Escaping makes names longer, so the shortest is not an escaped one of another.
    const auto shortest = std::min_element(
        all.begin(), all.end(),
        [](const auto& a, const auto& b) { return a.first.size() < b.first.size(); });
    Xattr xattr = *shortest;
    all.erase(shortest);
    const auto twin = all.find({Escaped(xattr.first), xattr.second});
    if (twin != all.end()) {
      all.erase(twin);
    } else {
      xattr.first = UnescapedAsByTar(xattr.first);
    }
    xattrs.push_back(std::move(xattr));
  }
  return xattrs;
}

// libarchive would put names together anew by Unicode's rules if the locale were UTF-8, and so take
// two names for one. In the locale "C" it says that it cannot convert them, and leaves the bytes.
bool IsAboutCharset(archive* a) {
  return ErrorOf(a).find("can't be converted from") != std::string::npos;
}

class Reader {
 public:
  Reader(const ArchiveSource& source, const std::function<void(std::string_view)>& sink)
      : input_(source), sink_(sink) {}

  void ReadAll() {
    archive* a = archive_.get();
    archive_read_support_format_tar(a);
    Check(archive_read_open(a, this, nullptr, &Reader::Input, nullptr));
    archive_entry* entry = nullptr;
    for (;;) {
      const int result = archive_read_next_header(a, &entry);
      if (result == ARCHIVE_EOF) break;
      current_.clear();
      if (result != ARCHIVE_WARN || !IsAboutCharset(a)) Check(result);
      SendEntry(entry);
    }
    const auto end = static_cast<uint64_t>(archive_read_header_position(a));
    while (!input_.Next().empty()) {  // what is behind the end must decompress, too
    }
    if (input_.total() < end + kTarBlockBytes)
      throw Refused(EINVAL, "the archive ends too early: it has no end");
    sink_(EncodeFrame(FrameKind::kEnd, "{}"));
  }

  // For messages: what was being read.
  const std::string& current() const { return current_; }

 private:
  static la_ssize_t Input(archive* a, void* self, const void** bytes) {
    auto* reader = static_cast<Reader*>(self);
    try {
      const std::string_view next = reader->input_.Next();
      *bytes = next.data();
      return static_cast<la_ssize_t>(next.size());
    } catch (const std::exception& error) {
      archive_set_error(a, EINVAL, "%s", error.what());
      return -1;
    }
  }

  void Check(int result) const {
    if (result == ARCHIVE_OK) return;
    throw Refused(EINVAL, ErrorOf(archive_.get()));
  }

  // `./a/b/` and `a//b` are a/b. What else a path says is the daemon's to judge.
  static std::string Plain(const char* path) {
    if (path == nullptr) throw Refused(EINVAL, "a name that cannot be read");
    std::string plain;
    std::string_view rest = path;
    if (rest.starts_with('/')) plain = "/";
    while (!rest.empty()) {
      const size_t end = std::min(rest.find('/'), rest.size());
      const std::string_view part = rest.substr(0, end);
      rest.remove_prefix(std::min(end + 1, rest.size()));
      if (part.empty() || part == ".") continue;
      if (!plain.empty() && plain != "/") plain += '/';
      plain += part;
    }
    return plain;
  }

  void SendEntry(archive_entry* entry) {
    current_ = Plain(archive_entry_pathname(entry));
    if (const char* target = archive_entry_hardlink(entry)) {
      StreamLink link;
      link.path = current_;
      link.target = Plain(target);
      sink_(EncodeLink(link));
      return;
    }
    StreamNode node;
    node.path = current_;
    node.mode = archive_entry_mode(entry);
    node.uid = NumberOf(archive_entry_uid(entry));
    node.gid = NumberOf(archive_entry_gid(entry));
    const la_int64_t size = archive_entry_size(entry);
    if (size < 0) throw Refused(EINVAL, "a negative size");
    if (S_ISREG(node.mode)) node.size = static_cast<uint64_t>(size);
    if (S_ISCHR(node.mode) || S_ISBLK(node.mode)) {
      node.rdev = static_cast<uint32_t>(
          makedev(archive_entry_rdevmajor(entry), archive_entry_rdevminor(entry)));
    }
    node.mtime = {archive_entry_mtime(entry),
                  static_cast<uint32_t>(archive_entry_mtime_nsec(entry))};
    node.atime = archive_entry_atime_is_set(entry) != 0
                     ? FileTime{archive_entry_atime(entry),
                                static_cast<uint32_t>(archive_entry_atime_nsec(entry))}
                     : node.mtime;
    if (S_ISLNK(node.mode)) {
      const char* target = archive_entry_symlink(entry);
      if (target == nullptr) throw Refused(EINVAL, "a symlink whose target cannot be read");
      node.target = target;
    }
    sink_(EncodeNode(node));
    SendXattrs(entry, node.mode);
    if (S_ISREG(node.mode)) SendContents();
  }

  static uint32_t NumberOf(la_int64_t id) {
    if (id < 0 || id >= UINT32_MAX) throw Refused(EINVAL, "an owner that no file can have");
    return static_cast<uint32_t>(id);
  }

  void SendXattrs(archive_entry* entry, uint32_t mode) {
    for (const auto& [name, value] : XattrsOf(entry)) sink_(EncodeXattr(name, value));
    if (S_ISLNK(mode)) return;
    if (const auto acl = FindAcl(entry, false)) sink_(EncodeXattr(kAccessAcl, *acl));
    if (!S_ISDIR(mode)) return;
    if (const auto acl = FindAcl(entry, true)) sink_(EncodeXattr(kDefaultAcl, *acl));
  }

  void SendContents() {
    const void* bytes = nullptr;
    size_t size = 0;
    la_int64_t offset = 0;
    for (;;) {
      const int result = archive_read_data_block(archive_.get(), &bytes, &size, &offset);
      if (result == ARCHIVE_EOF) return;
      Check(result);
      std::string_view rest(static_cast<const char*>(bytes), size);
      for (auto at = static_cast<uint64_t>(offset); !rest.empty();) {
        const std::string_view piece = rest.substr(0, kMaxDataBytes);
        sink_(EncodeDataHead(at, piece.size()));
        sink_(piece);
        at += piece.size();
        rest.remove_prefix(piece.size());
      }
    }
  }

  Decompressed input_;
  const std::function<void(std::string_view)>& sink_;
  ArchivePointer archive_{archive_read_new()};
  std::string current_;
};

}  // namespace

void ReadArchive(const ArchiveSource& source, const std::function<void(std::string_view)>& sink) {
  Reader reader(source, sink);
  try {
    reader.ReadAll();
  } catch (const Refused& refused) {
    const std::string where = reader.current().empty() ? "" : Quoted(reader.current()) + ": ";
    throw Refused(refused.error(), where + refused.what());
  }
}

}  // namespace rw
