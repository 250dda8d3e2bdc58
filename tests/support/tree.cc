#include "tests/support/tree.h"

#include <sys/stat.h>

#include <sstream>

namespace rw::testing {
namespace {

std::string Text(const FileTime& time) {
  std::ostringstream out;
  out << time.seconds << "s+" << time.nanoseconds << "ns";
  return out.str();
}

std::string Text(const std::map<std::string, std::string>& xattrs) {
  std::ostringstream out;
  out << "{";
  for (const auto& [name, value] : xattrs) {
    out << name << "=" << value.substr(0, 16) << "(" << value.size() << " bytes) ";
  }
  out << "}";
  return out.str();
}

std::string Text(const std::string& text) { return "'" + text + "'"; }
std::string Text(uint64_t number) { return std::to_string(number); }

std::string Octal(uint32_t mode) {
  std::ostringstream out;
  out << "0" << std::oct << mode;
  return out.str();
}

template <typename T>
void Compare(const char* what, const T& expected, const T& actual, std::ostringstream& out) {
  if (!(expected == actual)) {
    out << " " << what << " " << Text(actual) << " (expected " << Text(expected) << ")";
  }
}

std::string Difference(const TreeNode& expected, const TreeNode& actual) {
  std::ostringstream out;
  if (expected.mode != actual.mode) {
    out << " mode " << Octal(actual.mode) << " (expected " << Octal(expected.mode) << ")";
  }
  Compare<uint64_t>("uid", expected.uid, actual.uid, out);
  Compare<uint64_t>("gid", expected.gid, actual.gid, out);
  Compare<uint64_t>("nlink", expected.nlink, actual.nlink, out);
  Compare<uint64_t>("rdev", expected.rdev, actual.rdev, out);
  Compare<uint64_t>("size", expected.size, actual.size, out);
  if (expected.content_hash != actual.content_hash) out << " contents differ";
  Compare("target", expected.target, actual.target, out);
  Compare("xattrs", expected.xattrs, actual.xattrs, out);
  Compare("atime", expected.atime, actual.atime, out);
  Compare("mtime", expected.mtime, actual.mtime, out);
  Compare("ctime", expected.ctime, actual.ctime, out);
  Compare("hard link of", expected.same_as, actual.same_as, out);
  return out.str();
}

}  // namespace

std::string Difference(const Tree& expected, const Tree& actual, size_t limit) {
  std::ostringstream out;
  size_t found = 0;
  const auto report = [&](const std::string& path, const std::string& what) {
    if (++found <= limit) out << "  " << path.substr(0, 120) << ":" << what << "\n";
  };
  for (const auto& [path, node] : expected) {
    const auto other = actual.find(path);
    if (other == actual.end()) {
      report(path, " is missing");
    } else if (!(node == other->second)) {
      report(path, Difference(node, other->second));
    }
  }
  for (const auto& [path, node] : actual) {
    if (expected.count(path) == 0) report(path, " should not be there, mode " + Octal(node.mode));
  }
  if (found > limit) out << "  ... and " << found - limit << " more\n";
  return out.str();
}

std::string CollectedTree::ProblemText() const {
  std::string text;
  for (size_t i = 0; i < problems.size() && i < 6; ++i) text += "  " + problems[i] + "\n";
  return text;
}

void LinkNames(CollectedTree& collected) {
  std::map<Ino, std::string> first_names;
  std::map<Ino, uint32_t> names;
  for (auto& [path, node] : collected.tree) {
    const Ino ino = collected.inos.at(path);
    node.same_as = first_names.try_emplace(ino, path).first->second;
    ++names[ino];
  }
  for (const auto& [path, node] : collected.tree) {
    const uint32_t count = names.at(collected.inos.at(path));
    if (S_ISDIR(node.mode) ? count != 1 : count != node.nlink) {
      collected.problems.push_back(path + ": nlink " + std::to_string(node.nlink) + " but " +
                                   std::to_string(count) + " names found");
    }
  }
}

}  // namespace rw::testing
