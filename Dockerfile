FROM node:20-slim AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci
COPY . .
RUN npm run build && npm prune --omit=dev

FROM node:20-slim
ENV NODE_ENV=production
WORKDIR /app
COPY --from=build /app/package.json ./
COPY --from=build /app/node_modules ./node_modules
COPY --from=build /app/migrations ./migrations
COPY --from=build /app/dist ./dist
RUN mkdir /data && chown node:node /data
USER node
VOLUME /data
EXPOSE 5223
# As process 1 node would ignore signals that it does not handle; the CLI handles SIGTERM and SIGINT itself.
ENTRYPOINT ["node", "/app/dist/src/cli/main.js"]
CMD ["router", "start", "--dir", "/data"]
