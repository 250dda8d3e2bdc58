#include "plugin/roff.h"

namespace rw {
namespace {

// Without what roff would take for something else.
std::string Escaped(std::string_view text) {
  std::string escaped;
  bool begins_line = true;
  for (const char byte : text) {
    // A dot or a quote that begins a line would make it a request.
    if (begins_line && (byte == '.' || byte == '\'')) escaped += "\\&";
    begins_line = byte == '\n';
    switch (byte) {
      case '\\':
        escaped += "\\e";
        break;
      case '-':
        escaped += "\\-";  // that which is typed, rather than a hyphen
        break;
      case '\'':
        escaped += "\\(aq";
        break;
      case '`':
        escaped += "\\(ga";
        break;
      case '"':
        escaped += "\\(dq";
        break;
      case '^':
        escaped += "\\(ha";
        break;
      case '~':
        escaped += "\\(ti";
        break;
      default:
        escaped += byte;
    }
  }
  return escaped;
}

std::string Argument(std::string_view text) { return " \"" + Escaped(text) + "\""; }

}  // namespace

ManualPage::ManualPage(std::string_view title, std::string_view source, std::string_view purpose) {
  text_ =
      ".TH" + Argument(title) + " 1 \"\"" + Argument(source) + Argument(purpose) + "\n.nh\n.ad l\n";
}

void ManualPage::Section(std::string_view heading) {
  text_ += ".SH" + Argument(heading) + "\n";
  after_heading_ = true;
}

void ManualPage::Subsection(std::string_view heading) {
  text_ += ".SS" + Argument(heading) + "\n";
  after_heading_ = true;
}

void ManualPage::Paragraph(std::string_view text) {
  // A heading is followed by one anyway.
  text_ += (after_heading_ ? "" : ".PP\n") + Escaped(text) + "\n";
  after_heading_ = false;
}

void ManualPage::Example(std::string_view text) {
  text_ += ".PP\n.nf\n.RS\n" + Escaped(text) + "\n.RE\n.fi\n";
}

void ManualPage::Item(std::string_view term, std::string_view argument, std::string_view text) {
  text_ += ".TP\n";
  if (!term.empty()) text_ += "\\fB" + Escaped(term) + "\\fR";
  // `KEY=VALUE` is one word, `--at TIME` are two.
  if (!term.empty() && !argument.empty() && !term.ends_with("=")) text_ += ' ';
  if (!argument.empty()) text_ += "\\fI" + Escaped(argument) + "\\fR";
  text_ += "\n" + Escaped(text) + "\n";
  after_heading_ = false;
}

}  // namespace rw
