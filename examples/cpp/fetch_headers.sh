#!/bin/sh
# Prints a folder with the headers of onnxruntime's C and C++ interfaces.
#
# They come from the npm package of onnxruntime for Unity (150 MB, of which 1 MB is kept), and are kept in the
# user's cache. The headers fit onnxruntime 1.29 and newer.
set -eu
package=com.github.asus4.onnxruntime@0.4.9
folder=${XDG_CACHE_HOME:-$HOME/.cache}/ganport/headers-0.4.9
if [ ! -e "$folder/onnxruntime_cxx_api.h" ]; then
    temporary=$(mktemp -d)
    trap 'rm -rf "$temporary"' EXIT
    npm pack --silent --pack-destination "$temporary" "$package" >/dev/null
    headers='package/Plugins/iOS~/onnxruntime.xcframework/ios-arm64/onnxruntime.framework/Headers'
    tar -xzf "$temporary"/*.tgz -C "$temporary" "$headers"
    mkdir -p "$(dirname "$folder")"
    rm -rf "$folder"
    mv "$temporary/$headers" "$folder"
fi
echo "$folder"
