#include "api/server/selection.h"

#include <algorithm>

#include "api/server/stored_text.h"

namespace ocicat::api {
namespace {

constexpr std::size_t kMaxText = 16 * 1024;

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

bool is_word_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
         c == '.' || c == '/';
}

}  // namespace

class LabelSelectorParser {
 public:
  explicit LabelSelectorParser(std::string_view text) : rest_(trim(text)) {}

  Result<LabelSelector> parse() {
    LabelSelector selector;
    while (!rest_.empty()) {
      TRY(auto requirement, requirement());
      selector.requirements_.push_back(std::move(requirement));
      blanks();
      if (rest_.empty()) break;
      if (!take(",") || trim(rest_).empty()) return unexpected("a comma and another requirement");
    }
    return selector;
  }

 private:
  using Requirement = LabelSelector::Requirement;

  Result<Requirement> requirement() {
    Requirement result;
    blanks();
    const bool absent = take("!");
    blanks();
    result.label = word();
    if (result.label.empty()) return unexpected("a label");
    result.negated = absent;
    blanks();
    if (absent || rest_.empty() || rest_.front() == ',') return result;
    if (take("==") || take("=")) return one_value(std::move(result));
    if (take("!=")) {
      result.negated = true;
      return one_value(std::move(result));
    }
    const auto operation = word();
    result.negated = operation == "notin";
    if (operation != "in" && operation != "notin") return unexpected("=, ==, !=, in, notin or a comma");
    return value_set(std::move(result));
  }

  Result<Requirement> one_value(Requirement result) {
    blanks();
    result.values = {word()};  // an empty value is a value
    return result;
  }

  Result<Requirement> value_set(Requirement result) {
    blanks();
    if (!take("(")) return unexpected("\"(\"");
    result.values.emplace();
    while (true) {
      blanks();
      result.values->push_back(word());
      blanks();
      if (take(")")) return result;
      if (!take(",")) return unexpected("a comma or \")\"");
    }
  }

  void blanks() { rest_ = rest_.substr(std::min(rest_.find_first_not_of(" \t"), rest_.size())); }

  bool take(std::string_view token) {
    if (!rest_.starts_with(token)) return false;
    rest_.remove_prefix(token.size());
    return true;
  }

  std::string word() {
    const auto end = std::ranges::find_if_not(rest_, is_word_character);
    std::string taken(rest_.begin(), end);
    rest_.remove_prefix(taken.size());
    return taken;
  }

  std::unexpected<Error> unexpected(std::string_view wanted) const {
    return fail(ErrorCode::kInvalid, "label selector: expected {} before \"{}\"", wanted,
                rest_.substr(0, 40));
  }

  std::string_view rest_;
};

Result<LabelSelector> LabelSelector::parse(std::string_view text) {
  if (text.size() > kMaxText)
    return fail(ErrorCode::kInvalid, "label selector: longer than {} bytes", kMaxText);
  return LabelSelectorParser(text).parse();
}

bool LabelSelector::matches(std::string_view stored_text) const {
  if (requirements_.empty()) return true;
  const auto object = from_stored_text(stored_text);
  const auto& labels = labels_of(object);
  return std::ranges::all_of(requirements_, [&](const Requirement& requirement) {
    const auto* label = labels.if_contains(requirement.label);
    if (!label || !label->is_string()) return requirement.negated;
    if (!requirement.values) return !requirement.negated;
    const std::string_view value = label->get_string();
    const bool among = std::ranges::find(*requirement.values, value) != requirement.values->end();
    return among != requirement.negated;
  });
}

Result<FieldSelector> FieldSelector::parse(std::string_view text) {
  if (text.size() > kMaxText)
    return fail(ErrorCode::kInvalid, "field selector: longer than {} bytes", kMaxText);
  FieldSelector selector;
  while (!trim(text).empty()) {
    const auto comma = text.find(',');
    const auto piece = trim(text.substr(0, comma));
    text = comma == std::string_view::npos ? std::string_view() : text.substr(comma + 1);
    const auto equals = piece.find('=');
    if (equals == std::string_view::npos || equals == 0)
      return fail(ErrorCode::kInvalid, "field selector: \"{}\": expected FIELD=VALUE", piece);
    Requirement requirement;
    requirement.negated = piece[equals - 1] == '!';
    const auto field = trim(piece.substr(0, requirement.negated ? equals - 1 : equals));
    auto value = piece.substr(equals + 1);
    if (value.starts_with('=')) value.remove_prefix(1);
    requirement.value = trim(value);
    requirement.is_name = field == "metadata.name";
    if (!requirement.is_name && field != "metadata.namespace") {
      return fail(ErrorCode::kInvalid,
                  "field selector: \"{}\" is not supported, only metadata.name and metadata.namespace are",
                  field);
    }
    selector.requirements_.push_back(std::move(requirement));
  }
  return selector;
}

bool FieldSelector::matches(const ResourceKey& key) const {
  return std::ranges::all_of(requirements_, [&](const Requirement& requirement) {
    return ((requirement.is_name ? key.name : key.ns) == requirement.value) != requirement.negated;
  });
}

}  // namespace ocicat::api
