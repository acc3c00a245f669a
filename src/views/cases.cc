#include <fmt/format.h>

#include <array>
#include <boost/json.hpp>
#include <charconv>

#include "resources/yaml_reader.h"
#include "views/json_read.h"
#include "views/verify.h"

namespace ocicat::views {
namespace {

namespace json = boost::json;

constexpr std::array<std::string_view, 6> kFields{"from", "to", "port", "expect", "family", "source-port"};

std::string in_quotes(std::string_view text) {
  return json::serialize(json::string(text));
}

// Reads one case; what is wrong with it becomes a complaint.
class CaseReader {
 public:
  CaseReader(ReadCases& out, const std::string& file, std::string path, int line)
      : out_(out), file_(file), path_(std::move(path)) {
    case_.line = line;
  }

  void read(const json::value& value) {
    const auto* object = value.if_object();
    if (!object || object->empty()) {
      complain("", json::serialize(value),
               "must be a mapping with from, to, port and expect, or \"FROM -> TO PROTO/PORT\": allow|deny");
      return;
    }
    if (object->size() == 1 &&
        std::string_view(object->begin()->key()).find("->") != std::string_view::npos) {
      read_short(object->begin()->key(), object->begin()->value());
    } else {
      read_long(*object);
    }
    if (good_) out_.cases.push_back(case_);
  }

 private:
  void read_long(const json::object& object) {
    for (const auto& entry : object) {
      if (std::ranges::count(kFields, std::string_view(entry.key())) == 0) {
        complain(entry.key(), json::serialize(entry.value()),
                 "unknown field: a case has from, to, port, expect, family and source-port");
      }
    }
    case_.from = required(object, "from");
    case_.to = required(object, "to");
    if (const std::string port = required(object, "port"); !port.empty()) read_traffic("port", port);
    if (const std::string expect = required(object, "expect"); !expect.empty()) read_expect("expect", expect);
    if (const std::string family = text_at(object, {"family"}); !family.empty()) {
      if (const auto parsed = parse_family(family)) {
        case_.family = *parsed;
      } else {
        complain("family", in_quotes(family), "must be 4 or 6");
      }
    }
    if (object.contains("source-port")) read_source_port(text_at(object, {"source-port"}));
  }

  void read_short(std::string_view question, const json::value& expect) {
    const auto arrow = question.find("->");
    const std::string_view from = trimmed(question.substr(0, arrow));
    const std::string_view rest = trimmed(question.substr(arrow + 2));
    const auto blank = rest.find_last_of(" \t");
    if (from.empty() || blank == std::string_view::npos) {
      complain("", in_quotes(question), "must read FROM -> TO PROTO/PORT");
      return;
    }
    case_.from = from;
    case_.to = trimmed(rest.substr(0, blank));
    read_traffic("", std::string(rest.substr(blank + 1)));
    const auto* text = expect.if_string();
    read_expect("", text ? std::string(*text) : json::serialize(expect));
  }

  static std::string_view trimmed(std::string_view text) {
    const auto first = text.find_first_not_of(" \t");
    if (first == std::string_view::npos) return {};
    return text.substr(first, text.find_last_not_of(" \t") - first + 1);
  }

  std::string required(const json::object& object, std::string_view name) {
    std::string text = text_at(object, {name});
    if (text.empty()) complain(name, "", "is required");
    return text;
  }

  void read_traffic(std::string_view name, const std::string& text) {
    if (const auto traffic = parse_traffic(text)) {
      case_.traffic = *traffic;
    } else {
      complain(name, in_quotes(text), traffic.error().message);
    }
  }

  void read_expect(std::string_view name, const std::string& text) {
    case_.allowed = text == "allow";
    if (text != "allow" && text != "deny") complain(name, in_quotes(text), "must be allow or deny");
  }

  void read_source_port(const std::string& text) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), case_.source_port);
    if (error != std::errc{} || end != text.data() + text.size()) {
      complain("source-port", in_quotes(text), "must be a number from 0 to 65535");
    }
  }

  void complain(std::string_view name, std::string value, std::string rule) {
    good_ = false;
    Complaint complaint;
    complaint.file = file_;
    complaint.line = case_.line;
    complaint.object = "case";
    complaint.field_path = name.empty() ? path_ : fmt::format("{}.{}", path_, name);
    complaint.value = std::move(value);
    complaint.rule = std::move(rule);
    out_.complaints.push_back(std::move(complaint));
  }

  ReadCases& out_;
  const std::string& file_;
  std::string path_;
  Case case_;
  bool good_ = true;
};

Complaint complaint_at(const std::string& file, int line, std::string path, std::string rule) {
  Complaint complaint;
  complaint.file = file;
  complaint.line = line;
  complaint.object = "cases";
  complaint.field_path = std::move(path);
  complaint.rule = std::move(rule);
  return complaint;
}

int line_at(const ReadValue& read, const std::string& path) {
  const auto it = read.line_of.find(path);
  return it == read.line_of.end() ? read.line : it->second;
}

void read_list(ReadCases& out, const ReadValue& read, const std::string& file) {
  std::string prefix;
  const json::array* list = read.value.if_array();
  if (const auto* object = read.value.if_object()) {
    const auto* cases = object->if_contains("cases");
    list = cases && object->size() == 1 ? cases->if_array() : nullptr;
    prefix = "cases";
  }
  if (!list) {
    out.complaints.push_back(
        complaint_at(file, read.line, "",
                     "must be a list of cases, or a mapping with nothing but such a list in `cases`"));
    return;
  }
  for (std::size_t i = 0; i < list->size(); ++i) {
    std::string path = fmt::format("{}[{}]", prefix, i);
    const int line = line_at(read, path);
    CaseReader(out, file, std::move(path), line).read((*list)[i]);
  }
}

}  // namespace

ReadCases read_cases(std::string_view text, const std::string& file_name) {
  ReadCases out;
  auto values = read_json(text, 1);
  if (!values) values = read_yaml(text, 1);
  for (const ReadValue& read : *values) {
    for (const TextFault& fault : read.faults) {
      out.complaints.push_back(complaint_at(file_name, fault.line, fault.field_path, fault.rule));
    }
    if (read.faults.empty() && !read.value.is_null()) read_list(out, read, file_name);
  }
  return out;
}

}  // namespace ocicat::views
