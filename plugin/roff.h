// Text as man(7) wants it.
#pragma once

#include <string>
#include <string_view>

namespace rw {

// A manual page that is written from top to bottom. Everything that it takes is plain text.
class ManualPage {
 public:
  ManualPage(std::string_view title, std::string_view source, std::string_view purpose);

  void Section(std::string_view heading);
  void Subsection(std::string_view heading);
  void Paragraph(std::string_view text);
  // As it is, lines and spaces included.
  void Example(std::string_view text);
  // Says what `term`, which is to be typed so, and its `argument`, which is not, mean.
  void Item(std::string_view term, std::string_view argument, std::string_view text);

  const std::string& text() const { return text_; }

 private:
  std::string text_;
  bool after_heading_ = false;
};

}  // namespace rw
