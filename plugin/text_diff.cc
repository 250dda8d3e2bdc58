#include "plugin/text_diff.h"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "metadata/quoted.h"

namespace rw {
namespace {

constexpr size_t kContext = 3;
// Lines that came and went beyond which all in between counts as changed: what is remembered grows
// with the square of their number.
constexpr int64_t kMaxEdits = 2000;

std::vector<std::string_view> SplitLines(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size() - 1) + 1;
    lines.push_back(text.substr(0, end));
    text.remove_prefix(end);
  }
  return lines;
}

struct Edit {
  char kind;  // ' ', '-' or '+'
  std::string_view line;
};

// Myers, "An O(ND) Difference Algorithm and Its Variations", 1986.
class LineDiff {
 public:
  LineDiff(const std::vector<std::string_view>& a, const std::vector<std::string_view>& b)
      : a_(a), b_(b) {
    while (begin_ < std::min(a.size(), b.size()) && a[begin_] == b[begin_]) ++begin_;
    a_end_ = a.size();
    b_end_ = b.size();
    while (a_end_ > begin_ && b_end_ > begin_ && a[a_end_ - 1] == b[b_end_ - 1]) --a_end_, --b_end_;
  }

  std::vector<Edit> Edits() {
    std::vector<Edit> middle = Middle();
    std::vector<Edit> edits;
    for (size_t i = 0; i < begin_; ++i) edits.push_back({' ', a_[i]});
    edits.insert(edits.end(), middle.begin(), middle.end());
    for (size_t i = a_end_; i < a_.size(); ++i) edits.push_back({' ', a_[i]});
    return edits;
  }

 private:
  std::vector<Edit> Middle() {
    const auto n = static_cast<int64_t>(a_end_ - begin_);
    const auto m = static_cast<int64_t>(b_end_ - begin_);
    const int64_t most = std::min(n + m, kMaxEdits);
    std::vector<int64_t> furthest(static_cast<size_t>(2 * most + 3), 0);
    const auto at = [&](std::vector<int64_t>& of, int64_t k) -> int64_t& {
      return of[static_cast<size_t>(k + (static_cast<int64_t>(of.size()) - 1) / 2)];
    };
    std::vector<std::vector<int64_t>> trace;
    for (int64_t d = 0; d <= most; ++d) {
      // What the round can look at, and no more.
      std::vector<int64_t> round(static_cast<size_t>(2 * d + 3), 0);
      for (int64_t k = -d - 1; k <= d + 1; ++k) at(round, k) = at(furthest, k);
      trace.push_back(std::move(round));
      for (int64_t k = -d; k <= d; k += 2) {
        const bool down = k == -d || (k != d && at(furthest, k - 1) < at(furthest, k + 1));
        int64_t x = down ? at(furthest, k + 1) : at(furthest, k - 1) + 1;
        int64_t y = x - k;
        while (x < n && y < m && A(x) == B(y)) ++x, ++y;
        at(furthest, k) = x;
        if (x >= n && y >= m) return Walk(trace, n, m);
      }
    }
    std::vector<Edit> all;
    for (int64_t x = 0; x < n; ++x) all.push_back({'-', A(x)});
    for (int64_t y = 0; y < m; ++y) all.push_back({'+', B(y)});
    return all;
  }

  // From the end back to the beginning.
  std::vector<Edit> Walk(std::vector<std::vector<int64_t>>& trace, int64_t x, int64_t y) {
    std::vector<Edit> edits;
    for (auto d = static_cast<int64_t>(trace.size()) - 1; d >= 0; --d) {
      std::vector<int64_t>& round = trace[static_cast<size_t>(d)];
      const auto at = [&](int64_t k) { return round[static_cast<size_t>(k + d + 1)]; };
      const int64_t k = x - y;
      const bool down = k == -d || (k != d && at(k - 1) < at(k + 1));
      const int64_t from_k = down ? k + 1 : k - 1;
      const int64_t from_x = d == 0 ? 0 : at(from_k);
      const int64_t from_y = d == 0 ? 0 : from_x - from_k;
      while (x > from_x && y > from_y) {
        --x, --y;
        edits.push_back({' ', A(x)});
      }
      if (d == 0) break;
      edits.push_back(down ? Edit{'+', B(from_y)} : Edit{'-', A(from_x)});
      x = from_x;
      y = from_y;
    }
    std::reverse(edits.begin(), edits.end());
    return edits;
  }

  std::string_view A(int64_t i) const { return a_[begin_ + static_cast<size_t>(i)]; }
  std::string_view B(int64_t i) const { return b_[begin_ + static_cast<size_t>(i)]; }

  const std::vector<std::string_view>& a_;
  const std::vector<std::string_view>& b_;
  size_t begin_ = 0, a_end_ = 0, b_end_ = 0;
};

std::string Range(size_t first, size_t count) {
  if (count == 1) return std::to_string(first + 1);
  return std::to_string(count == 0 ? first : first + 1) + "," + std::to_string(count);
}

}  // namespace

std::string UnifiedDiff(std::string_view before, std::string_view after,
                        const std::string& name_before, const std::string& name_after) {
  const auto a = SplitLines(before);
  const auto b = SplitLines(after);
  const std::vector<Edit> edits = LineDiff(a, b).Edits();
  std::string out;
  size_t line_a = 0, line_b = 0;  // before edits[i]
  for (size_t i = 0; i < edits.size();) {
    size_t change = i;
    while (change < edits.size() && edits[change].kind == ' ') ++change;
    if (change == edits.size()) break;
    const size_t begin = std::max(i, change - std::min(change, kContext));
    line_a += begin - i;
    line_b += begin - i;
    // To where more lines than two contexts are the same.
    size_t end = change;
    for (size_t same = 0, at = change; at < edits.size() && same <= 2 * kContext; ++at) {
      same = edits[at].kind == ' ' ? same + 1 : 0;
      if (same == 0) end = at + 1;
    }
    end = std::min(edits.size(), end + kContext);
    std::string hunk;
    size_t count_a = 0, count_b = 0;
    for (size_t at = begin; at < end; ++at) {
      hunk += edits[at].kind;
      hunk += edits[at].line;
      if (!edits[at].line.ends_with('\n')) hunk += "\n\\ No newline at end of file\n";
      count_a += edits[at].kind != '+' ? 1 : 0;
      count_b += edits[at].kind != '-' ? 1 : 0;
    }
    if (out.empty())
      out.append("--- ").append(name_before).append("\n+++ ").append(name_after).append("\n");
    out.append("@@ -").append(Range(line_a, count_a)).append(" +").append(Range(line_b, count_b));
    out.append(" @@\n").append(hunk);
    line_a += count_a;
    line_b += count_b;
    i = end;
  }
  return out;
}

bool IsText(std::string_view bytes) {
  while (!bytes.empty()) {
    const size_t length = Utf8Length(bytes);
    if (length == 0 || bytes.front() == '\0') return false;
    bytes.remove_prefix(length);
  }
  return true;
}

}  // namespace rw
