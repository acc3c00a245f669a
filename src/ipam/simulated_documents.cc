#include "ipam/simulated_documents.h"

#include <algorithm>
#include <numeric>

namespace ocicat::ipam {

namespace json = boost::json;

Result<json::object> SharedDocuments::get(const ResourceKey& key) const {
  const std::scoped_lock lock(mutex_);
  const auto at = documents_.find(key);
  if (at == documents_.end()) return fail(ErrorCode::kNotFound, "{}", key.to_string());
  return at->second;
}

std::vector<json::object> SharedDocuments::list(Kind kind) const {
  const std::scoped_lock lock(mutex_);
  std::vector<json::object> found;
  for (auto at = documents_.lower_bound({kind, "", ""}); at != documents_.end() && at->first.kind == kind;
       ++at)
    found.push_back(at->second);
  return found;
}

void SharedDocuments::delay(Write write) {
  const std::scoped_lock lock(mutex_);
  delayed_.push_back(std::move(write));
}

void SharedDocuments::land() {
  const std::scoped_lock lock(mutex_);
  for (const auto& write : std::exchange(delayed_, {})) std::ignore = apply_now(write);
}

Result<json::object> SharedDocuments::apply(const Write& write) {
  const std::scoped_lock lock(mutex_);
  if (!delayed_.empty() && random_() % 16 == 0) {
    std::swap(delayed_[random_() % delayed_.size()], delayed_.back());
    std::ignore = apply_now(delayed_.back());
    delayed_.pop_back();
  }
  return apply_now(write);
}

Result<json::object> SharedDocuments::apply_now(const Write& write) {
  const auto at = documents_.find(write.key);
  const bool is_there = at != documents_.end();
  if (write.verb == Write::Verb::kCreate && is_there)
    return fail(ErrorCode::kAlreadyExists, "{}", write.key.to_string());
  if (write.verb != Write::Verb::kCreate && !is_there)
    return fail(ErrorCode::kNotFound, "{}", write.key.to_string());
  const auto revision_of = [](const json::object& object) {
    const auto* revision = object.at("metadata").as_object().if_contains("resourceVersion");
    return revision != nullptr ? std::string(revision->as_string()) : std::string();
  };
  if (write.verb == Write::Verb::kDelete) {
    if (!write.revision.empty() && revision_of(at->second) != write.revision)
      return fail(ErrorCode::kConflict, "{}", write.key.to_string());
    ++writes_;
    ++revision_;
    auto was = std::move(at->second);
    documents_.erase(at);
    return was;
  }
  if (write.verb == Write::Verb::kUpdate) {
    const auto expected = revision_of(write.object);
    if (!expected.empty() && revision_of(at->second) != expected)
      return fail(ErrorCode::kConflict, "{}", write.key.to_string());
  }
  ++writes_;
  auto object = write.object;
  object["metadata"].as_object()["resourceVersion"] = std::to_string(++revision_);
  documents_.insert_or_assign(write.key, object);
  return object;
}

std::size_t SharedDocuments::writes() const {
  const std::scoped_lock lock(mutex_);
  return writes_;
}

Result<std::vector<json::object>> SimulatedDocuments::list(Kind kind) {
  if (between_) between_();
  if (strikes(faults_.crash)) throw Crash{};
  if (strikes(faults_.refused)) return fail(ErrorCode::kUnavailable, "refused");
  return shared_.list(kind);
}

std::vector<Result<json::object>> SimulatedDocuments::get(const std::vector<ResourceKey>& keys) {
  std::vector<Result<json::object>> answers;
  for (const auto& key : keys) {
    if (between_) between_();
    if (strikes(faults_.crash)) throw Crash{};
    answers.push_back(strikes(faults_.refused)
                          ? Result<json::object>(fail(ErrorCode::kUnavailable, "refused"))
                          : shared_.get(key));
  }
  return answers;
}

Result<json::object> SimulatedDocuments::write_one(const Write& write) {
  if (between_) between_();
  if (strikes(faults_.crash)) throw Crash{};
  if (strikes(faults_.refused)) return fail(ErrorCode::kUnavailable, "refused");
  if (write.verb != Write::Verb::kCreate && strikes(faults_.conflict))
    return fail(ErrorCode::kConflict, "injected");
  const bool crashes = strikes(faults_.crash);
  const bool lost = strikes(faults_.lost);
  std::optional<Result<json::object>> answer;
  if ((crashes || lost) && strikes(faults_.late)) {
    shared_.delay(write);
  } else {
    answer = shared_.apply(write);
  }
  if (crashes) throw Crash{};
  if (lost) return fail(ErrorCode::kUnavailable, "lost");
  return *std::move(answer);
}

std::vector<Result<json::object>> SimulatedDocuments::write(std::vector<Write> writes) {
  std::vector<std::size_t> order(writes.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::shuffle(order.begin(), order.end(), random_);
  std::vector<Result<json::object>> answers(writes.size(), json::object());
  for (const auto i : order) answers[i] = write_one(writes[i]);
  return answers;
}

}  // namespace ocicat::ipam
