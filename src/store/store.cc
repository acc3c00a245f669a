#include "store/store.h"

#include <future>

namespace ocicat::store {
namespace {

Result<void> expect(const View& view, const ResourceKey& key, Revision expected) {
  const Entry* stored = view.get(key);
  if (!stored) return fail(ErrorCode::kNotFound, "{} not found", key.to_string());
  if (expected != 0 && stored->revision != expected) {
    return fail(ErrorCode::kConflict, "{} has changed: it is at revision {}, not {}", key.to_string(),
                stored->revision, expected);
  }
  return {};
}

}  // namespace

Result<Committed> Store::commit(Edit edit, Durability durability) {
  std::promise<Result<Committed>> promise;
  auto answer = promise.get_future();
  submit(std::move(edit), durability,
         [&promise](Result<Committed> result) { promise.set_value(std::move(result)); });
  return answer.get();
}

Edit create_edit(ResourceKey key, std::string document) {
  return [key = std::move(key),
          document = std::move(document)](const View& view) -> Result<std::optional<Change>> {
    if (view.get(key)) return fail(ErrorCode::kAlreadyExists, "{} already exists", key.to_string());
    return Change{key, document};
  };
}

Edit update_edit(ResourceKey key, std::string document, Revision expected) {
  return [key = std::move(key), document = std::move(document),
          expected](const View& view) -> Result<std::optional<Change>> {
    TRY_VOID(expect(view, key, expected));
    return Change{key, document};
  };
}

Edit delete_edit(ResourceKey key, Revision expected) {
  return [key = std::move(key), expected](const View& view) -> Result<std::optional<Change>> {
    TRY_VOID(expect(view, key, expected));
    return Change{key, std::nullopt};
  };
}

}  // namespace ocicat::store
