// Which instants of one timeline somebody may still look at. What lies between them is nobody's,
// and is collected.
#pragma once

#include <optional>
#include <vector>

#include "metadata/instant.h"

namespace rw {

// A range and points. Not thread-safe; after Finish, reading is.
class KeptInstants {
 public:
  void AddPoint(Instant at) { points_.push_back(at); }
  // Every instant in [from, to]. A timeline is written by one volume, so there is at most one
  // range: another that is added is joined with the first, and so is what lies between them.
  void AddRange(Instant from, Instant to);
  void Finish();  // after the last Add…, before the first question

  bool empty() const { return !range_ && points_.empty(); }
  bool Contains(Instant at) const;
  // The first kept instant in [from, to).
  std::optional<Instant> FirstIn(Instant from, Instant to) const;

  const std::vector<Instant>& points() const { return points_; }  // sorted, each once
  // Where the range begins; kInstantMax if there is none.
  Instant range_from() const { return range_ ? range_->from : kInstantMax; }
  // The nearest kept instants around `at`, which is not kept itself.
  std::optional<Instant> Previous(Instant at) const;
  std::optional<Instant> Next(Instant at) const { return FirstIn(at, kInstantMax); }

 private:
  struct Range {
    Instant from, to;
  };
  std::optional<Range> range_;
  std::vector<Instant> points_;
};

}  // namespace rw
