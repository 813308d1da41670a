/**
 * One CommonJS file with the function, the server and every dependency. `nodeModules` is a folder of packages for an
 * entry that stands outside of any. Throws esbuild's BuildFailure.
 */
export function bundle(options: { entry: string; outfile: string; nodeModules?: string }): Promise<unknown>;
