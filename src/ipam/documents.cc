#include "ipam/documents.h"

#include "resources/decode.h"

namespace ocicat::ipam {

namespace json = boost::json;

namespace {

// Of documents that this program has made.
ResourceKey key_of_ours(const json::object& object) {
  auto key = key_of(object);
  CHECK(key);
  return *std::move(key);
}

template <class Answers>
auto only(Answers answers) {
  CHECK(answers.size() == 1);
  return std::move(answers.front());
}

}  // namespace

Write create_of(json::object object) {
  auto key = key_of_ours(object);
  return {Write::Verb::kCreate, std::move(key), std::move(object), {}};
}

Write update_of(json::object object) {
  auto key = key_of_ours(object);
  return {Write::Verb::kUpdate, std::move(key), std::move(object), {}};
}

Write delete_of(const ResourceKey& key, std::string_view revision) {
  return {Write::Verb::kDelete, key, {}, std::string(revision)};
}

Result<json::object> Documents::get(const ResourceKey& key) {
  return only(get(std::vector{key}));
}

Result<json::object> Documents::create(json::object object) {
  return only(write({create_of(std::move(object))}));
}

Result<json::object> Documents::update(json::object object) {
  return only(write({update_of(std::move(object))}));
}

Result<json::object> Documents::remove(const ResourceKey& key, std::string_view revision) {
  return only(write({delete_of(key, revision)}));
}

}  // namespace ocicat::ipam
